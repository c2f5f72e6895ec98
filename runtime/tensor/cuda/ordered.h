// Floating-point numbers as integers of their size that are in the same order, for libraries whose
// maximum and minimum lose NaN: a NaN becomes the integer that wins. -0 comes before +0.
#pragma once

#include <cstdint>
#include <cuda_runtime.h>

namespace leasehold::cuda {

// T is float or double, Ordered int32_t or int64_t. `out` may be `in`. With nan_is_greatest NaN
// wins a maximum, without it a minimum.
template <typename T, typename Ordered>
void to_ordered(const T* in, bool nan_is_greatest, Ordered* out, int64_t count,
                cudaStream_t stream);
// The other way round.
template <typename T, typename Ordered>
void from_ordered(const Ordered* in, T* out, int64_t count, cudaStream_t stream);

}  // namespace leasehold::cuda
