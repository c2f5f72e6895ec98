// What a run that is done has left in the memory of other hosts.
#pragma once

#include <string>
#include <vector>

#include "launch/leases/planner.h"
#include "launch/supervisor/prober.h"
#include "launch/supervisor/world_file.h"

namespace leasehold {

// Pure. Hosts of earlier worlds that are not in the newest one, by name: the newest world's ranks
// remove their own. `worlds` is in the order of the generations.
std::vector<std::string> hosts_that_left(const std::vector<WorldFile>& worlds);

// The shell command that removes a run's files from a host's shared memory.
std::string memory_removal(const std::string& run_dir);

// Has every host do what `prober` asks, all at once; waits as long as it waits. Why each host that
// could not be cleaned was not.
std::vector<std::string> ask_all(Prober& prober, const std::vector<std::string>& hosts);

}  // namespace leasehold
