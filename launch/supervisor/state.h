// What the supervisor knows of a job. It lies in RUN_DIR/supervisor/state.json and is written
// before anything is done that depends on it, so that a new supervisor goes on where a killed one
// stopped. The token and the ports are not in it (control_file.h), so it may be shown to anybody.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "launch/leases/planner.h"
#include "launch/supervisor/held_state.h"
#include "runtime/base/files.h"
#include "runtime/base/status.h"

namespace leasehold {

// What was asked of the generation that runs.
struct Ending {
  bool kill = false;  // else to drain
  std::string way;    // the short name of why: "planned", "operator", "stuck", "no heartbeat", ...
  std::string reason;
  double asked_s = 0;
  bool signalled = false;             // a drain also went to mpirun as SIGUSR1
  int64_t signals = 0;                // how often it did
  std::vector<std::string> suspects;  // hosts that have to answer before they are used again

  bool operator==(const Ending&) const = default;
};

struct RunningGeneration {
  int64_t number = 0;
  std::vector<PlannedHost> hosts;
  Layout layout;
  std::string reason;  // why it began
  double started_s = 0;
  std::string supervisor;  // the address that its agents report to
  int64_t first_step = 0;  // the newest step that any generation had done when it began
  int64_t step = 0;        // the newest step that it is known to have done
  std::string phase;       // as last reported; "" when nothing was
  int64_t work = 0;        // of its hosts' reports together (Report::work_done)
  double progress_s = 0;   // when step, phase or work last changed
  bool training = false;   // start-up and restoring are behind it
  std::optional<double>
      first_new_step_s;  // when a step was done that no generation had done before
  std::optional<Ending> ending;

  int64_t world() const;
};

// A line of the timeline.
struct PastGeneration {
  int64_t number = 0;
  int64_t world = 0;
  std::string began, ended;  // reasons
  double started_s = 0;
  double ended_s = 0;
  int64_t last_step = 0;
  bool planned = false;          // drained, or the job was done
  std::optional<double> lost_s;  // from the end of the one before to the first new step

  bool operator==(const PastGeneration&) const = default;
};

struct HostRecord {
  HostHealth health;
  std::vector<double> crashes_s;  // not yet answered by a quarantine
  int64_t quarantines = 0;
  int64_t failed_probes = 0;  // in a row
  double next_probe_s = 0;    // of a host that does not answer, or whose memory is needed
  // What it was last left out for, as host_fault.h names it, and the newest step then; "": nothing,
  // or it has trained since.
  std::string fault;
  int64_t fault_step = 0;
  int64_t faults = 0;  // in a row
};

struct Failure {
  double at_s = 0;
  int64_t generation = 0;
  std::string way;         // "exit code 70", "signal 9", "stuck", ...
  int64_t step = 0;        // the newest step that any generation had done
  std::string host;        // to blame; "": not known
  bool only_host = false;  // the generation had no other host than that
  bool excused = false;    // a node was gone: the job did nothing wrong
  int exit_code = 70;      // the supervisor's own, should it give up over this
  std::string message;
};

struct JobEnd {
  int exit_code = 0;
  std::string reason;
};

struct SupervisorState {
  double first_launch_s = 0;
  int64_t newest_generation = 0;     // started, or about to be
  int64_t newest_step = 0;           // done by any generation
  std::optional<double> last_end_s;  // of the newest past generation
  std::optional<RunningGeneration> running;
  std::map<std::string, HostRecord> hosts;
  HeldState held;
  std::vector<Failure> failures;  // the newest kKeptFailures, oldest first
  MeasuredTimes times;
  int64_t times_world = 0;  // ranks of the world in which times.step_s was measured; 0: not known
  std::vector<PastGeneration> timeline;
  std::optional<JobEnd> end;

  std::map<std::string, HostHealth> health() const;
};

inline constexpr size_t kKeptFailures = 16;

std::string encode_state(const SupervisorState& state);
// Strict (fuzzed): kBadData, naming `file` and the place.
Result<SupervisorState> parse_state(std::string_view text, const std::string& file);

// RUN_DIR/supervisor/state.json.
std::string state_path(const std::string& run_dir);
Status save_state(FileSystem& files, const std::string& run_dir, const SupervisorState& state);
// kMissingInput when the job was never launched; kBadData, saying how to go on, when it is damaged.
Result<SupervisorState> load_state(FileSystem& files, const std::string& run_dir);

}  // namespace leasehold
