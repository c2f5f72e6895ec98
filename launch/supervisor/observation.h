// What the supervisor sees in one turn of its loop. Everything that its decisions depend on is in
// here, in the state and in the time.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "launch/launchers/failure_report.h"
#include "launch/leases/planner.h"
#include "launch/supervisor/control_protocol.h"
#include "launch/supervisor/outcome.h"

namespace leasehold {

struct NodeNews {
  Report report;       // the newest of this node
  double heard_s = 0;  // when it came
};

struct ProbeResult {
  std::string host;
  bool answered = false;
  std::string message;  // why not
};

// The end of metrics.jsonl.
struct LoggedStep {
  int64_t step = 0;
  double step_time_s = 0;
};

struct Observation {
  Plan wanted;  // the planner's answer for this moment
  std::optional<std::string>
      planned_drain;                      // why the running world should give way, by the planner
  std::set<std::string> leased;           // hosts that a lease gives us now
  std::set<std::string> leased_soon;      // now or before a wait for their memory would end
  double lease_end_s = kNever;            // when a host of the running world has to be given up
  double listening_since_s = 0;           // no agent can have been heard before
  std::map<std::string, NodeNews> nodes;  // of the generation that runs, by name
  std::optional<LoggedStep> logged;
  bool keeper_alive = false;             // of the generation that runs
  std::optional<Outcome> outcome;        // of that generation
  FailureReport said;                    // its output, once it ended
  std::vector<ProbeResult> probes;       // that ended since the turn before
  std::set<std::string> probing;         // hosts that are being asked
  std::optional<std::string> stop_wish;  // an operator's
};

// Durations in seconds.
struct SupervisorLimits {
  double start_timeout_s = 300;  // until a generation trains
  double stuck_timeout_s = 300;  // launch.stuck_timeout_s, the deadline of every collective
  double margin_s = 30;          // the ranks' own deadlines come first by this much
  double heartbeat_timeout_s = 10;
  double slow_phase_factor =
      10;                       // saving and validating may take this many times as long as a step
  double kill_grace_s = 15;     // between asking a keeper to end its mpirun and ending it by force
  double crash_window_s = 600;  // this many crashes of a host ...
  int64_t crashes_to_quarantine = 3;
  double quarantine_s = 60;  // the first; each further one is twice as long
  double max_quarantine_s = 3600;
  int64_t same_failures_to_stop = 3;
  double first_probe_pause_s = 2;  // between two probes of a host that does not answer; doubles
  double max_probe_pause_s = 60;
  double wait_for_state_s = 600;    // for hosts that hold the newest state in memory
  double max_restart_pause_s = 60;  // restarts without progress wait 0, 1, 2, 4, ... seconds
  bool hosts_are_local = true;      // virtual nodes of this machine
  int64_t num_steps = 0;            // that the job has in all; 0: not known
};

}  // namespace leasehold
