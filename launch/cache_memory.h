// Memory for the keys and values of a text, looked at before it is taken: the system gives more
// than there is, and ends the program later.
#pragma once

#include <cstdint>

#include "runtime/base/status.h"

namespace leasehold {

// The memory that programs can still have, by the system's own estimate (MemAvailable of
// /proc/meminfo); the largest number where it makes none.
int64_t available_memory_bytes();

// kBadConfig, with both sizes and the way out, where `needed_bytes` for `positions` are more than
// `available_bytes`. Pure.
Status check_cache_fits(int64_t positions, int64_t needed_bytes, int64_t available_bytes);

}  // namespace leasehold
