// Checks that memory suffices for the keys and values of a text before they are allocated: the
// system promises more memory than it has, and would end the program later.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/base/status.h"

namespace leasehold {

// Returns the memory that this process can still get: the system's own estimate (MemAvailable of
// /proc/meminfo), or less if a control group of the process, such as a container's or a batch
// system's, leaves less (memory.max minus memory.current; in version 1 memory.limit_in_bytes minus
// memory.usage_in_bytes). Returns the largest number if nothing states a limit. `root` is put
// before /proc and /sys.
int64_t available_memory_bytes(const std::string& root = "");

// Fails with kBadConfig, naming both sizes and the way out, if `needed_bytes` for `positions`
// exceed `available_bytes`. Pure.
Status check_cache_fits(int64_t positions, int64_t needed_bytes, int64_t available_bytes);

}  // namespace leasehold
