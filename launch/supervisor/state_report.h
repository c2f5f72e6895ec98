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
// far, seconds lost; by node communication and how much of it was exposed.
std::string prometheus_text(const StateReport& report);

// "communication of a step on node-a: 12.3 ms, 1.1 ms of it not hidden behind computation", a line
// for each node that reported some, from the text of state_json(); "" where there is none.
std::string communication_text(const std::string& state_json);

// A table with a line for each generation, the running one last: number, ranks, when it began, the
// steps it ended with, seconds lost, and why it began and ended.
std::string timeline_text(const SupervisorState& state);

}  // namespace leasehold
