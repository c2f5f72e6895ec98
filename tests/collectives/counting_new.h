// Counts what the program allocates with operator new, on all threads. Not under sanitizers, whose
// operators must stay.
#pragma once

#include <cstdint>

namespace leasehold {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kCountsAllocations = false;
#else
inline constexpr bool kCountsAllocations = true;
#endif

// 0 for ever when allocations are not counted.
int64_t num_allocations();

}  // namespace leasehold
