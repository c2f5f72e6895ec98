// The arithmetic of reductions in host memory.
#pragma once

#include <cstdint>

#include "runtime/comm/communicator.h"

namespace leasehold {

// Sets out[i] = left[i] op right[i] for i < n, for elements of `dtype` (f32, f64 or i32). out may
// be left or right. NaN propagates, also in max and min. Integers wrap.
void combine(DType dtype, ReduceOp op, void* out, const void* left, const void* right, int64_t n);

}  // namespace leasehold
