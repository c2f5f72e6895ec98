// Which hosts should train now, and when that changes: a pure function of the calendar, the hosts'
// health, the job's limits, measured times and the clock. It knows no processes.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>

#include "launch/leases/layout_choice.h"
#include "launch/leases/lease_calendar.h"

namespace leasehold {

struct HostHealth {
  enum class State { kGood, kUnreachable, kQuarantined };
  State state = State::kGood;
  double until_s =
      0;  // a quarantine's end (unix time); an unreachable host is left out until probed
  std::string reason;
};

// Seconds; what is not measured yet is counted pessimistically (see the constants in planner.cc).
struct MeasuredTimes {
  std::optional<double> start_s;  // from mpirun's start to the first new step
  std::optional<double> step_s;
  std::optional<double>
      save_s;  // from the wish to drain, at a step's end, to the checkpoint's manifest
};

struct PlanLimits {
  LayoutLimits layouts;
  double margin_s = 30;  // reserve before a lease ends
};

// Hosts that a new world should have first, whatever their leases say: the newest state is in their
// memory.
using PreferredHosts = std::set<std::string>;

struct PlannedHost {
  std::string host;
  int64_t slots = 1;  // ranks taken; fewer than the lease's when the job takes no more
  std::string lease;
  double end_s =
      kNever;  // the end of its lease or the begin of its curtailment, whichever is first
  std::string provider, site;

  bool operator==(const PlannedHost&) const = default;
};

struct Plan {
  std::vector<PlannedHost> hosts;  // empty: wait
  int64_t world = 0;
  Layout layout;
  std::vector<LayoutOfWorld> unknown;  // forecasts that the plan waits for
  double drain_at_s = kNever;   // unix time by which a world of these hosts must begin to drain
  double next_look_s = kNever;  // the calendar or the health says nothing new before
  std::string reason;           // one sentence: who is in, who is out and why

  bool operator==(const Plan&) const = default;
};

// A host can be taken when its lease has begun, it is healthy and not curtailed, and more is left
// of its time than start + step + save + margin. Whole copies of the model, no more than the job
// has lanes (a host may be taken with fewer ranks than its slots): hosts with the latest end first,
// then those that no notice can end early, then the cheaper, then in calendar order. The earliest
// end brings a restart, so hosts that end early are left out where the ranks that they add are not
// worth it (world_choice.h), unless min_world needs them. Fewer than min_world: none, and the
// reason says what is awaited. Where leases say how much memory a slot has, the layout is chosen to
// fit it (layout_choice.h); for that the plan may first need forecasts.
//
// Of `preferred` hosts, those that can be taken come first, and no world without them is chosen
// where there is one with them.
//
// Until `next_look_s`, which lies behind `now_s`, the same arguments give the same plan.
Plan plan(const LeaseCalendar& calendar, const std::map<std::string, HostHealth>& health,
          const PlanLimits& limits, const MeasuredTimes& times, double now_s,
          const MemoryForecasts& forecasts = {}, const PreferredHosts& preferred = {});

// When a world that runs must begin to drain, by the calendar as it is now (it may have been edited
// since) and the times as they are known now.
struct DrainTime {
  double at_s = kNever;  // not behind `now_s` when a host may not be used any longer
  std::string why;       // the host and what ends it; empty when nothing does
};
DrainTime drain_time(const std::vector<PlannedHost>& running, const LeaseCalendar& calendar,
                     const PlanLimits& limits, const MeasuredTimes& times, double now_s);

// Returns when the first host of a running world has to be given up (or had to be), by the calendar
// as it is now; kNever when no lease says so.
double first_end_s(const std::vector<PlannedHost>& running, const LeaseCalendar& calendar,
                   double now_s);

// Whether a running world, in its layout, should give way to `wanted` (the plan of this moment),
// and why (a sentence); nothing: go on. True when its drain time has come, a host of it left the
// calendar, or `wanted` has more ranks, makes steps faster and wins more than twice what a restart
// (start + save) costs before either world ends. Ranks make steps faster only when no rank keeps as
// many lanes as before: with 8 lanes a world of 7 is as fast as one of 4.
std::optional<std::string> reason_to_drain(const std::vector<PlannedHost>& running,
                                           const Layout& layout, const Plan& wanted,
                                           const LeaseCalendar& calendar, const PlanLimits& limits,
                                           const MeasuredTimes& times, double now_s);

}  // namespace leasehold
