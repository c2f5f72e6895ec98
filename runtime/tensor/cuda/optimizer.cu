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

constexpr int64_t kBlockElements = int64_t{kMapThreads} * AdamWOp<false>::kWidth;

// The range that a block is of: the last one that begins at it or before.
__device__ inline int range_of(const AdamWRanges& ranges, int32_t block) {
  int low = 0;
  for (int high = ranges.count; high - low > 1;) {
    const int middle = (low + high) / 2;
    if (ranges.ranges[middle].first_block <= block) {
      low = middle;
    } else {
      high = middle;
    }
  }
  return low;
}

// Each thread runs one pack of one range.
template <bool kHasWorking>
__global__ void __launch_bounds__(kMapThreads) adamw_ranges_kernel(AdamWRanges ranges) {
  using Op = AdamWOp<kHasWorking>;
  const auto block = static_cast<int32_t>(blockIdx.x);
  const AdamWRange& range = ranges.ranges[range_of(ranges, block)];
  const int64_t i =
      int64_t{block - range.first_block} * kBlockElements + int64_t{threadIdx.x} * Op::kWidth;
  if (i >= range.count) return;
  const Op op{range.decays ? ranges.decayed : ranges.plain,
              range.parameter,
              range.gradient,
              range.m,
              range.v,
              range.working};
  const int64_t left = range.count - i;
  if (range.aligned && left >= Op::kWidth) {
    op.template run<true>(i, Op::kWidth);
  } else {
    op.template run<false>(i, left < Op::kWidth ? static_cast<int>(left) : Op::kWidth);
  }
}

}  // namespace

bool AdamWRanges::add(const AdamWRange& range) {
  AdamWRange& added = ranges[count++];
  added = range;
  added.first_block = num_blocks;
  added.aligned = are_aligned({range.parameter, range.gradient, range.m, range.v, range.working});
  num_blocks += static_cast<int32_t>(ceil_divide(range.count, kBlockElements));
  return count == kMost;
}

void adamw(const AdamWRanges& ranges, cudaStream_t stream) {
  static_assert(sizeof(AdamWRanges) <= 4096, "the arguments of a kernel");
  launch(
      ranges.ranges[0].working == nullptr ? adamw_ranges_kernel<false> : adamw_ranges_kernel<true>,
      grid_of(ranges.num_blocks), dim3(kMapThreads), 0, stream, ranges);
}

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
