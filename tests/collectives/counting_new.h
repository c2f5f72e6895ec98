// Counts the program's allocations by operator new, on all threads. Disabled under sanitizers,
// whose operators must stay.
#pragma once

#include <cstdint>

namespace leasehold {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kCountsAllocations = false;
#else
inline constexpr bool kCountsAllocations = true;
#endif

// Returns the number of allocations; always 0 if they are not counted.
int64_t num_allocations();

}  // namespace leasehold
