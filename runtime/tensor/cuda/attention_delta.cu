#include "runtime/tensor/cuda/attention_delta.h"
#include "runtime/tensor/cuda/rows.h"

namespace leasehold::cuda {

namespace {

constexpr int kRowsPerBlock = 8;  // a warp each

template <int kWidth, bool kVector, typename T>
__global__ void __launch_bounds__(kRowsPerBlock* kWarp)
    attention_delta_kernel(AttentionSizes sizes, const T* dout, const T* out, float* delta) {
  const int64_t H = sizes.G * sizes.R;
  const int64_t row = int64_t{blockIdx.x} * kRowsPerBlock + threadIdx.x / kWarp;  // of (B, T, H)
  const bool exists = row < sizes.B * sizes.T * H;
  const int D = static_cast<int>(sizes.D);
  float sum = 0;
  if (exists) {
    for (int d = static_cast<int>(threadIdx.x % kWarp) * kWidth; d < D; d += kWarp * kWidth) {
      float left[kWidth], right[kWidth];
      load<kVector>(dout + row * D + d, kWidth, left);
      load<kVector>(out + row * D + d, kWidth, right);
#pragma unroll
      for (int j = 0; j < kWidth; ++j) sum += left[j] * right[j];
    }
  }
  sum = warp_reduce<Sum>(sum);
  if (exists && threadIdx.x % kWarp == 0) {
    const int64_t h = row % H, t = row / H % sizes.T, b = row / H / sizes.T;
    delta[(b * H + h) * sizes.T + t] = sum;
  }
}

}  // namespace

template <typename T>
void attention_delta(const AttentionBackward<T>& work, cudaStream_t stream) {
  const AttentionSizes& sizes = work.sizes;
  const int64_t rows = sizes.B * sizes.T * sizes.G * sizes.R;
  with_row_access<T>(sizes.D, {work.dout, work.out}, [&](auto width, auto vector) {
    launch(attention_delta_kernel<width(), vector(), T>, grid_of(ceil_divide(rows, kRowsPerBlock)),
           dim3(kRowsPerBlock * kWarp), 0, stream, sizes, work.dout, work.out, work.workspace);
  });
}

template void attention_delta(const AttentionBackward<float>& work, cudaStream_t stream);
template void attention_delta(const AttentionBackward<__nv_bfloat16>& work, cudaStream_t stream);

}  // namespace leasehold::cuda
