// Manages the files that a run keeps in this machine's shared memory.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/base/status.h"

namespace leasehold {

// Returns the absolute path of a run.dir, which need not exist.
std::string canonical_run_dir(const std::string& run_dir);

// Returns the prefixes of the names of all files that a run keeps in shared memory: one with the
// hash of its path, which programs before 0.1.0 used for snapshots, and one with its lineage
// (read_lineage; missing before the run's first step).
std::vector<std::string> memory_prefixes(const std::string& run_dir);

// Removes all files of the run from shared memory and returns their number. Nobody may be using
// them. Skips other users' files. Fails with kStorage.
Result<int64_t> remove_run_memory(const std::string& run_dir,
                                  const std::string& directory = "/dev/shm");

}  // namespace leasehold
