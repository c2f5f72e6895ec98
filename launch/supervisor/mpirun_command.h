// The mpirun of one generation: pure. Ranks find what concerns them in their environment:
// LEASEHOLD_NODE, _GENERATION, _SUPERVISOR (address:port) and _TOKEN. The token is in no argument.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "launch/job_file.h"
#include "launch/leases/planner.h"
#include "launch/supervisor/generation_host.h"

namespace leasehold {

struct MpirunRequest {
  std::string mpirun = "mpirun";
  std::string train_program;           // leasehold-train
  std::string job_path;                // absolute
  std::vector<std::string> overrides;  // of --set
  LaunchSection launch;
  std::vector<PlannedHost> hosts;
  int64_t generation = 1;
  std::string supervisor;  // "address:port"
  std::string token;
  bool as_root = false;
};

// One app context for each host, so that ranks are dealt in the order of the hosts. With
// launch.hosts = "local" all of them run on this machine and the host is a name only; else mpirun
// reaches them through `ssh` or the agent, and ranks talk over TCP. launch.mpirun_args come before
// the app contexts, but each -x NAME of theirs is in all of them; an MCA parameter that they set is
// not set by us.
GenerationCommand make_mpirun_command(const MpirunRequest& request);

}  // namespace leasehold
