// Checks the memory for the keys and values of a text before it is taken: the system promises more
// memory than it has, and ends the program later.
#pragma once

#include <cstdint>

#include "runtime/base/status.h"

namespace leasehold {

// Returns the memory that programs can still have, by the system's own estimate (MemAvailable of
// /proc/meminfo); the largest number where it makes none.
int64_t available_memory_bytes();

// Fails with kBadConfig, naming both sizes and the way out, when `needed_bytes` for `positions` are
// more than `available_bytes`. Pure.
Status check_cache_fits(int64_t positions, int64_t needed_bytes, int64_t available_bytes);

}  // namespace leasehold
