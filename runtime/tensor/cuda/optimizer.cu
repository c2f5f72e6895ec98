#include "runtime/tensor/cuda/map.h"
#include "runtime/tensor/cuda/optimizer.h"
#include "runtime/tensor/cuda/rows.h"

namespace leasehold::cuda {

namespace {

constexpr int kChunkThreads = 256;

// One block a chunk; thread t has packs t, t + 256, ... .
template <bool kAligned>
__global__ void __launch_bounds__(kChunkThreads)
    squared_norms_kernel(const float* x, float scale, double* sums, int64_t count) {
  LEASEHOLD_SHARED(shared, double[kWarp]);
  constexpr int kWidth = kPack<float>;
  const int64_t begin = int64_t{blockIdx.x} * kNormChunk;
  double sum = 0;
  for (int64_t i = begin + threadIdx.x * kWidth; i < begin + kNormChunk && i < count;
       i += kChunkThreads * kWidth) {
    float values[kWidth];
    if (kAligned && i + kWidth <= count) {
      load<kAligned>(x + i, kWidth, values);
    } else {
      load<false>(x + i, count - i < kWidth ? static_cast<int>(count - i) : kWidth, values);
    }
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      const double scaled = values[j] * scale;
      sum += scaled * scaled;
    }
  }
  sum = block_reduce<Sum>(sum, shared);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

template <bool kHasWorking>
struct AdamWOp {
  static constexpr int kWidth = kPack<float>;
  AdamWFactors factors;
  float* parameter;
  const float* gradient;
  float* m;
  float* v;
  __nv_bfloat16* working;

  template <bool kVector>
  __device__ void run(int64_t i, int count) const {
    float p[kWidth], g[kWidth], first[kWidth], second[kWidth];
    load<kVector>(parameter + i, count, p);
    load<kVector>(gradient + i, count, g);
    load<kVector>(m + i, count, first);
    load<kVector>(v + i, count, second);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      const float scaled = g[j] * factors.gradient_scale * factors.clip_scale;
      first[j] = factors.beta1 * first[j] + factors.rest1 * scaled;
      second[j] = factors.beta2 * second[j] + factors.rest2 * (scaled * scaled);
      const float root = sqrtf(second[j]) * factors.inverse_root2 + factors.eps;
      p[j] = p[j] * factors.decay - factors.step_size * first[j] / root;
    }
    store<kVector>(parameter + i, count, p);
    store<kVector>(m + i, count, first);
    store<kVector>(v + i, count, second);
    if constexpr (kHasWorking) store<kVector>(working + i, count, p);
  }
};

}  // namespace

void squared_norms(const float* x, float scale, double* sums, int64_t count, cudaStream_t stream) {
  if (count == 0) return;
  launch(are_aligned({x}) ? squared_norms_kernel<true> : squared_norms_kernel<false>,
         grid_of(ceil_divide(count, kNormChunk)), dim3(kChunkThreads), 0, stream, x, scale, sums,
         count);
}

void adamw(const AdamWFactors& factors, float* parameter, const float* gradient, float* m, float* v,
           __nv_bfloat16* working, int64_t count, cudaStream_t stream) {
  const bool aligned = are_aligned({parameter, gradient, m, v, working});
  if (working == nullptr) {
    launch_map(AdamWOp<false>{factors, parameter, gradient, m, v, working}, count, aligned, stream);
  } else {
    launch_map(AdamWOp<true>{factors, parameter, gradient, m, v, working}, count, aligned, stream);
  }
}

}  // namespace leasehold::cuda
