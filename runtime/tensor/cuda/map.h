// Elementwise kernels: an Op has static constexpr int kWidth and
//   template <bool kVector> __device__ void run(int64_t i, int count) const,
// which computes elements [i, i + count), count <= kWidth, and with kVector exactly kWidth of them
// by vector accesses. Each thread runs one such pack.
#pragma once

#include "runtime/tensor/cuda/pack.h"

namespace leasehold::cuda {

constexpr int kMapThreads = 256;

template <bool kAligned, typename Op>
__global__ void __launch_bounds__(kMapThreads) map_kernel(Op op, int64_t count) {
  const int64_t i = (int64_t{blockIdx.x} * kMapThreads + threadIdx.x) * Op::kWidth;
  if (i >= count) return;
  const int64_t left = count - i;
  if (kAligned && left >= Op::kWidth) {
    op.template run<kAligned>(i, Op::kWidth);
  } else {
    op.template run<false>(i, left < Op::kWidth ? static_cast<int>(left) : Op::kWidth);
  }
}

// `aligned`: all of the op's operands are, to 16 bytes.
template <typename Op>
void launch_map(const Op& op, int64_t count, bool aligned, cudaStream_t stream) {
  if (count == 0) return;
  const dim3 grid = grid_of(ceil_divide(count, int64_t{kMapThreads} * Op::kWidth));
  launch(aligned ? map_kernel<true, Op> : map_kernel<false, Op>, grid, dim3(kMapThreads), 0, stream,
         op, count);
}

}  // namespace leasehold::cuda
