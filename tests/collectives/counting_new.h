// Counts what the program allocates with operator new, on all threads.
#pragma once

#include <cstdint>

namespace leasehold {

int64_t num_allocations();

}  // namespace leasehold
