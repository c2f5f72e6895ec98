// Counts the bytes that operator new of this program has given out.
#pragma once

#include <cstdint>

namespace leasehold {

// Bytes given out now; the most at a time counts from here on.
int64_t reset_peak_memory();
int64_t peak_memory();

}  // namespace leasehold
