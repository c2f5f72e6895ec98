// The supervisor's state for people and machines. Pure.
#pragma once

#include <map>
#include <string>

#include "launch/supervisor/observation.h"
#include "launch/supervisor/state.h"

namespace leasehold {

struct StateReport {
  const SupervisorState& state;
  const std::map<std::string, NodeNews>& nodes;
  const std::string& doing;  // what the supervisor does or waits for
  double now_s = 0;
};

// {"now_s": ..., "doing": "...", "nodes": [...], "state": {as state.json}}
std::string state_json(const StateReport& report);

// Prometheus text: generation, world, step and times, hosts by health, generations and failures so
// far, seconds lost.
std::string prometheus_text(const StateReport& report);

// A table with a line for each generation, the running one last: number, ranks, when it began, the
// steps it ended with, seconds lost, and why it began and ended.
std::string timeline_text(const SupervisorState& state);

}  // namespace leasehold
