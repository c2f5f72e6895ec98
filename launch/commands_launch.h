// Implements the commands around a supervised job: `leasehold launch`, its hidden helper `keeper`,
// and the operator's commands status, drain and clean.
#pragma once

#include <string>
#include <vector>

#include "runtime/base/log.h"
#include "runtime/base/status.h"

namespace leasehold {

struct LaunchCommand {
  std::string job_path;
  std::vector<std::string> overrides;  // of --set
  std::string address;                 // at which nodes reach this machine; "" finds it out
};

// Supervises generations until the job is done, then prints the timeline to stdout. The first
// SIGINT or SIGTERM drains, the second leaves the running generation alone. Fails with kDrained if
// stopped on request, otherwise with the error that ended the job.
Status run_launch(const LaunchCommand& command, const Logger& logger);

struct KeeperCommand {
  std::string generation_dir;
  std::vector<std::string> command;
};
Status run_keeper_command(const KeeperCommand& command);

// Prints the state of the job as a running supervisor reports it, or else as it was left on disk.
Status run_status(const std::string& run_dir, bool json);
// Asks the supervisor to drain and stop. Fails with kUnavailable if none runs.
Status run_drain(const std::string& run_dir);
// Removes the run's files from this machine's shared memory. Fails with kBadConfig while the run is
// in use.
Status run_clean(const std::string& run_dir, const Logger& logger);

}  // namespace leasehold
