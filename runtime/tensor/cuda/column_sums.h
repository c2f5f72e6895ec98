// Sums over rows in two passes: groups of rows that the shape decides, then the groups in a fixed
// tree. The gradients of biases and of norms' weights.
#pragma once

#include "runtime/tensor/cuda/dialect.h"

namespace leasehold::cuda {

// out (O) = or += column sums of x (N, O), x of float or __nv_bfloat16. workspace:
// column_sums_workspace_bytes, 16-byte aligned.
template <typename T>
void column_sums(const T* x, int64_t N, int64_t O, float* out, bool accumulate, float* workspace,
                 cudaStream_t stream);
int64_t column_sums_workspace_bytes(int64_t N, int64_t O);

// The second pass: first (first_width) and second (width - first_width) = or += column sums of
// partials (num_rows, width). `second` may be null where first_width is the width.
void fold_partials(const float* partials, int64_t num_rows, int64_t width, float* first,
                   int64_t first_width, float* second, bool accumulate, cudaStream_t stream);

}  // namespace leasehold::cuda
