// Which hosts should train now, and when that changes: a pure function of the calendar, the hosts'
// health, the job's limits, measured times and the clock. It knows no processes.
#pragma once

#include <map>
#include <optional>

#include "launch/leases/lease_calendar.h"

namespace leasehold {

struct HostHealth {
  enum class State { kGood, kUnreachable, kQuarantined };
  State state = State::kGood;
  double until_s = 0;  // a quarantine's end (unix time); an unreachable host is left out until probed
  std::string reason;
};

// Seconds; what is not measured yet is counted pessimistically (see the constants in planner.cc).
struct MeasuredTimes {
  std::optional<double> start_s;  // from mpirun's start to the first new step
  std::optional<double> step_s;
  std::optional<double> save_s;   // from the wish to drain, at a step's end, to the checkpoint's manifest
};

struct PlanLimits {
  int64_t min_world = 1;
  int64_t max_world = 1;  // the job's lanes: more ranks cannot take part
  double margin_s = 30;   // reserve before a lease ends
};

struct PlannedHost {
  std::string host;
  int64_t slots = 1;  // ranks taken; fewer than the lease's when max_world cuts
  std::string lease;
  double end_s = kNever;  // the end of its lease or the begin of its curtailment, whichever is first
  std::string provider, site;
};

struct Plan {
  std::vector<PlannedHost> hosts;  // empty: wait
  int64_t world = 0;
  double drain_at_s = kNever;   // unix time by which a world of these hosts must begin to drain
  double next_look_s = kNever;  // the calendar or the health says nothing new before
  std::string reason;           // one sentence: who is in, who is out and why
};

// A host is taken when its lease has begun, it is healthy and not curtailed, and what is left of
// its time covers start + step + save + margin. At most max_world ranks: hosts with the latest end
// first, then in calendar order. Fewer than min_world: none, and the reason says what is awaited.
Plan plan(const LeaseCalendar& calendar, const std::map<std::string, HostHealth>& health,
          const PlanLimits& limits, const MeasuredTimes& times, double now_s);

// Whether a running world should give way to `wanted`, and why (a sentence); nothing: go on. True
// when a running host's drain time has come, or when `wanted` gains ranks and the rest of the world's
// time is worth a restart (more than start + save of progress can be won).
std::optional<std::string> reason_to_drain(const Plan& running, const Plan& wanted,
                                           const MeasuredTimes& times, double now_s);

}  // namespace leasehold
