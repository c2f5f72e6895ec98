// What a run keeps in this machine's shared memory.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/base/status.h"

namespace leasehold {

// The absolute path by which a run's memory is named, whether the directory is there or not.
std::string canonical_run_dir(const std::string& run_dir);

// Removes all files of the run from shared memory; how many there were. Nobody may be using them.
// kStorage.
Result<int64_t> remove_run_memory(const std::string& run_dir);

}  // namespace leasehold
