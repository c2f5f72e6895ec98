// Checks the memory for the keys and values of a text before it is taken: the system promises more
// memory than it has, and ends the program later.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/base/status.h"

namespace leasehold {

// Returns the memory that this process can still have: what the system has by its own estimate
// (MemAvailable of /proc/meminfo), or less where a control group of it, a container's or a batch
// system's, has a limit (memory.max less memory.current; version 1: memory.limit_in_bytes less
// memory.usage_in_bytes). The largest number where nobody says. `root` stands before /proc and
// /sys.
int64_t available_memory_bytes(const std::string& root = "");

// Fails with kBadConfig, naming both sizes and the way out, when `needed_bytes` for `positions` are
// more than `available_bytes`. Pure.
Status check_cache_fits(int64_t positions, int64_t needed_bytes, int64_t available_bytes);

}  // namespace leasehold
