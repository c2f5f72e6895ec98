// States and observations that tests of the supervisor's decisions start from.
#pragma once

#include <string>
#include <vector>

#include "launch/supervisor/observation.h"
#include "launch/supervisor/state.h"

namespace leasehold {

inline constexpr double kStartS = 1000000;  // unix time

inline SupervisorLimits test_limits() {
  return {.start_timeout_s = 100,
          .stuck_timeout_s = 50,
          .margin_s = 5,
          .heartbeat_timeout_s = 10,
          .hosts_are_local = false};
}

// Two slots on each host.
inline std::vector<PlannedHost> planned_hosts(const std::vector<std::string>& names) {
  std::vector<PlannedHost> hosts;
  for (const std::string& name : names) {
    hosts.push_back({.host = name, .slots = 2, .lease = "lease-of-" + name});
  }
  return hosts;
}

inline Report make_report(int64_t generation, const std::string& node, int64_t step,
                          const std::string& phase) {
  Report report;
  report.generation = generation;
  report.node = node;
  report.rank = node[0] - 'a';
  report.pid = 1;
  report.step = step;
  report.phase = phase.empty() ? "starting" : phase;
  return report;
}

// The planner wants these hosts, and nothing else is to be seen.
inline Observation quiet_observation(const std::vector<std::string>& names) {
  Observation seen;
  seen.wanted.hosts = planned_hosts(names);
  seen.wanted.world = 2 * std::ssize(names);
  seen.wanted.reason = fmt::format("{} ranks on {}", seen.wanted.world, fmt::join(names, ", "));
  seen.leased = {names.begin(), names.end()};
  return seen;
}

// Generation 1 runs since kStartS; its newest news is of that moment.
inline SupervisorState running_state(const std::vector<std::string>& names,
                                     const std::string& phase, int64_t step) {
  SupervisorState state;
  state.first_launch_s = kStartS;
  state.newest_generation = 1;
  state.newest_step = step;
  state.times.step_s = 1;
  RunningGeneration running;
  running.number = 1;
  running.hosts = planned_hosts(names);
  running.reason = "the first";
  running.started_s = kStartS;
  running.step = step;
  running.phase = phase;
  running.progress_s = kStartS;
  running.training = step > 0;
  state.running = running;
  return state;
}

inline PastGeneration past_generation(int64_t number, const std::string& ended, bool planned) {
  PastGeneration past;
  past.number = number;
  past.world = 4;
  past.ended = ended;
  past.planned = planned;
  return past;
}

inline Failure failure(const std::string& way, int64_t step, const std::string& host) {
  Failure failure;
  failure.at_s = kStartS;
  failure.generation = 1;
  failure.way = way;
  failure.step = step;
  failure.host = host;
  return failure;
}

}  // namespace leasehold
