// The arithmetic of reductions on host memory.
#pragma once

#include <cstdint>

#include "runtime/comm/communicator.h"

namespace leasehold {

// out[i] = left[i] op right[i] for i < n, elements of `dtype` (f32, f64 or i32). out may be left or
// right. A NaN on either side gives NaN, also for max and min. Integers wrap.
void combine(DType dtype, ReduceOp op, void* out, const void* left, const void* right, int64_t n);

}  // namespace leasehold
