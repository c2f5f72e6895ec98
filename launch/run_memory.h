// What a run keeps in this machine's shared memory.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/base/status.h"

namespace leasehold {

// The absolute path of a run.dir, whether the directory is there or not.
std::string canonical_run_dir(const std::string& run_dir);

// The beginnings of the names of all that a run keeps in shared memory: by its lineage
// (read_lineage; none before its first step), and by the hash of its path, which programs before
// 0.1.0 named snapshots by.
std::vector<std::string> memory_prefixes(const std::string& run_dir);

// Removes all files of the run from shared memory; how many there were. Nobody may be using them.
// Other users' files are passed over. kStorage.
Result<int64_t> remove_run_memory(const std::string& run_dir,
                                  const std::string& directory = "/dev/shm");

}  // namespace leasehold
