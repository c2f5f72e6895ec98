// The commands around a supervised job: `leasehold launch`, its hidden helper `keeper`, and what an
// operator asks of a run: status, drain, clean.
#pragma once

#include <string>
#include <vector>

#include "runtime/base/log.h"
#include "runtime/base/status.h"

namespace leasehold {

struct LaunchCommand {
  std::string job_path;
  std::vector<std::string> overrides;  // of --set
  std::string address;                 // that nodes reach this machine at; "": found out
};

// Supervises generations until the job is done. Prints the timeline to stdout at the end. The first
// SIGINT or SIGTERM drains, the second leaves what runs alone. kDrained when stopped on request;
// what ended the job otherwise.
Status run_launch(const LaunchCommand& command, const Logger& logger);

struct KeeperCommand {
  std::string generation_dir;
  std::vector<std::string> command;
};
Status run_keeper_command(const KeeperCommand& command);

// Prints what a supervisor that runs says of the job, else what it left on disk.
Status run_status(const std::string& run_dir, bool json);
// Asks the supervisor to drain and stop. kUnavailable when none runs.
Status run_drain(const std::string& run_dir);
// Removes what the run left in this machine's shared memory. kBadConfig while somebody holds the
// run.
Status run_clean(const std::string& run_dir, const Logger& logger);

}  // namespace leasehold
