// What observations change in the supervisor's state: pure, and apart from what is done about it
// (transition.h).
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "launch/supervisor/observation.h"
#include "launch/supervisor/state.h"

namespace leasehold {

// A line of events.jsonl.
struct SupervisorEvent {
  std::string name;
  std::string reason;
  std::vector<std::pair<std::string, std::string>> details;
};

// Writes into `state` what `seen` says, in this order: answers of hosts that were probed and ends
// of quarantines; progress of the generation that runs and the times that it measured; its end.
//
// How a generation's end is read:
//   exit 0                 the job is done
//   75                     drained: planned, whoever asked
//   64, 65, 66, 71, 72, 78 its hosts' fault (host_fault.h), and those are left out for a while, the
//     longer the more often; or the job cannot go on: it stops with that code. A generation that
//     found no good file (65) and lacked hosts whose memory holds the state excuses itself: they
//     are waited for
//   the rest, signals, a keeper that vanished, an end that was forced: a failure. It is charged to
//     a host where one is to blame; a host with too many of them is quarantined, and one that
//     mpirun or its heartbeat lost is left out until it answers. The same failure several times in
//     a row without a new step stops the job, unless it was always the same host out of several, or
//     hosts that were gone.
// Returns the events, in order. When there are none, nothing happened that has to be on disk.
std::vector<SupervisorEvent> absorb(SupervisorState& state, const Observation& seen,
                                    const SupervisorLimits& limits, double now_s);

}  // namespace leasehold
