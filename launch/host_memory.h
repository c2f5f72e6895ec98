// Removes a finished run's files from the memory of other hosts.
#pragma once

#include <string>
#include <vector>

#include "launch/leases/planner.h"
#include "launch/supervisor/prober.h"
#include "launch/supervisor/world_file.h"

namespace leasehold {

// Returns the hosts of earlier worlds that are not in the newest one, by name. The ranks of the
// newest world remove their own files. `worlds` is in the order of the generations. Pure.
std::vector<std::string> hosts_that_left(const std::vector<WorldFile>& worlds);

// Returns the shell command that removes a run's files from a host's shared memory.
std::string memory_removal(const std::string& run_dir);

// Probes all hosts at once and waits for every answer, as long as `prober` does. Returns, for each
// host that failed, its name and the reason.
std::vector<std::string> ask_all(Prober& prober, const std::vector<std::string>& hosts);

}  // namespace leasehold
