// Plans which hosts should train now, and when that changes: a pure function of the calendar, the
// hosts' health, the job's limits, measured times and the clock. It knows nothing of processes.
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
  // The end of a quarantine (unix time). An unreachable host is left out until a probe succeeds.
  double until_s = 0;
  std::string reason;
};

// Times in seconds. What is not measured yet is estimated pessimistically (see the constants in
// planner.cc).
struct MeasuredTimes {
  std::optional<double> start_s;  // from mpirun's start to the first new step
  std::optional<double> step_s;
  // From the request to drain, at the end of a step, to the checkpoint's manifest.
  std::optional<double> save_s;
};

struct PlanLimits {
  LayoutLimits layouts;
  double margin_s = 30;  // reserve before a lease ends
};

// Hosts that a new world should have first, whatever their leases say, because the newest state is
// in their memory.
using PreferredHosts = std::set<std::string>;

struct PlannedHost {
  std::string host;
  int64_t slots = 1;  // ranks taken; fewer than the lease's if the job takes no more
  std::string lease;
  // The end of its lease or the begin of its curtailment, whichever is first.
  double end_s = kNever;
  std::string provider, site;

  bool operator==(const PlannedHost&) const = default;
};

struct Plan {
  std::vector<PlannedHost> hosts;  // empty: wait
  int64_t world = 0;
  Layout layout;
  std::vector<LayoutOfWorld> unknown;  // forecasts that the plan waits for
  double drain_at_s = kNever;   // unix time by which a world on these hosts must begin to drain
  double next_look_s = kNever;  // until this time, calendar and health say nothing new
  std::string reason;           // one sentence: the hosts taken, the hosts left out, and why

  bool operator==(const Plan&) const = default;
};

// Plans the hosts of a new world. A host can be taken if its lease has begun, it is healthy and not
// curtailed, and it remains available for longer than start + step + save + margin. Hosts are taken
// as whole copies of the model, at most as many as the job has lanes; a host may be taken with
// fewer ranks than its slots. Hosts with the latest end come first, then hosts that no notice can
// end early, then the cheaper ones, then calendar order. The earliest end causes a restart. So
// hosts that end early are left out if the ranks that they add are not worth it (world_choice.h),
// unless min_world needs them. With fewer than min_world ranks no host is taken, and the reason
// says what the plan waits for. If leases say how much memory a slot has, the layout is chosen to
// fit it (layout_choice.h); for that the plan may first need forecasts.
//
// Among the hosts that can be taken, `preferred` ones come first. No world without them is chosen
// if one with them exists.
//
// Until `next_look_s`, which is after `now_s`, the same arguments give the same plan.
Plan plan(const LeaseCalendar& calendar, const std::map<std::string, HostHealth>& health,
          const PlanLimits& limits, const MeasuredTimes& times, double now_s,
          const MemoryForecasts& forecasts = {}, const PreferredHosts& preferred = {});

// The time when a running world must begin to drain, given the present calendar (it may have been
// edited since the start) and the times known now.
struct DrainTime {
  double at_s = kNever;  // at most `now_s` if a host must not be used any longer
  std::string why;       // the host and what ends it; empty if nothing does
};
DrainTime drain_time(const std::vector<PlannedHost>& running, const LeaseCalendar& calendar,
                     const PlanLimits& limits, const MeasuredTimes& times, double now_s);

// Returns the time when the first host of a running world must be given up (or had to be), by the
// present calendar; kNever if no lease ends.
double first_end_s(const std::vector<PlannedHost>& running, const LeaseCalendar& calendar,
                   double now_s);

// Returns the reason, as a sentence, why a running world in its layout should give way to `wanted`
// (the plan at this time); nullopt: continue. It should if its drain time has come, or if one of
// its hosts has left the calendar. It also should if `wanted` has more ranks, makes steps faster,
// and gains more than twice the cost of a restart (start + save) before either world ends. More
// ranks make steps faster only if no rank keeps as many lanes as before: with 8 lanes a world of 7
// is as fast as one of 4.
std::optional<std::string> reason_to_drain(const std::vector<PlannedHost>& running,
                                           const Layout& layout, const Plan& wanted,
                                           const LeaseCalendar& calendar, const PlanLimits& limits,
                                           const MeasuredTimes& times, double now_s);

}  // namespace leasehold
