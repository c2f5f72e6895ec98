#include "runtime/tensor/cuda/norm.h"
#include "runtime/tensor/cuda/rows.h"

namespace leasehold::cuda {

namespace {

constexpr int kMostThreads = 512;

// One block a row. The row is read again in every pass, from the first-level cache.
template <typename T, int kWidth, bool kVector, bool kCentred>
__global__ void __launch_bounds__(kMostThreads) norm_forward_kernel(NormForward<T> work) {
  LEASEHOLD_SHARED(shared, float[kWarp]);
  const int64_t C = work.C;
  const int64_t row = blockIdx.x;
  const int64_t num_packs = C / kWidth;
  const T* input = work.x + row * C;
  // The sum of values, of squares without a mean.
  float total = 0;
  const auto count_in = [&](const float(&values)[kWidth]) {
#pragma unroll
    for (int j = 0; j < kWidth; ++j) total += kCentred ? values[j] : values[j] * values[j];
  };
  if (work.delta != nullptr) {
    const T* delta = work.delta + row * C;
    T* sum = work.sum + row * C;
    for (int64_t pack = threadIdx.x; pack < num_packs; pack += blockDim.x) {
      const int64_t i = pack * kWidth;
      float values[kWidth], added[kWidth], factors[kWidth];
      load<kVector>(input + i, kWidth, values);
      load<kVector>(delta + i, kWidth, added);
      work.dropout.factors(row * C + i, factors);
#pragma unroll
      for (int j = 0; j < kWidth; ++j)
        values[j] = Convert<float>::from(Convert<T>::from(values[j] + added[j] * factors[j]));
      store<kVector>(sum + i, kWidth, values);
      count_in(values);
    }
    input = sum;
  } else {
    for (int64_t pack = threadIdx.x; pack < num_packs; pack += blockDim.x) {
      float values[kWidth];
      load<kVector>(input + pack * kWidth, kWidth, values);
      count_in(values);
    }
  }
  const auto count = static_cast<float>(C);
  total = block_reduce<Sum>(total, shared);
  float mean = 0;
  float variance = total / count;
  if constexpr (kCentred) {
    mean = total / count;
    float squares = 0;
    for (int64_t pack = threadIdx.x; pack < num_packs; pack += blockDim.x) {
      float values[kWidth];
      load<kVector>(input + pack * kWidth, kWidth, values);
#pragma unroll
      for (int j = 0; j < kWidth; ++j) squares += (values[j] - mean) * (values[j] - mean);
    }
    variance = block_reduce<Sum>(squares, shared) / count;
  }
  const float rstd = 1.0F / sqrtf(variance + work.eps);
  for (int64_t pack = threadIdx.x; pack < num_packs; pack += blockDim.x) {
    const int64_t i = pack * kWidth;
    float values[kWidth], weights[kWidth], biases[kWidth];
    load<kVector>(input + i, kWidth, values);
    load<kVector>(work.weight + i, kWidth, weights);
    if constexpr (kCentred) load<kVector>(work.bias + i, kWidth, biases);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      if constexpr (kCentred) {
        values[j] = (values[j] - mean) * rstd * weights[j] + biases[j];
      } else {
        values[j] = values[j] * rstd * weights[j];
      }
    }
    store<kVector>(work.y + row * C + i, kWidth, values);
  }
  if (threadIdx.x == 0) {
    if constexpr (kCentred) work.mean[row] = mean;
    work.rstd[row] = rstd;
  }
}

}  // namespace

template <typename T>
void norm_forward(const NormForward<T>& work, cudaStream_t stream) {
  if (work.N == 0) return;
  with_row_access<T>(work.C, {work.x, work.delta, work.sum, work.weight, work.bias, work.y},
                     [&](auto width, auto vector) {
                       constexpr int kWidth = decltype(width)::value;
                       constexpr bool kVector = decltype(vector)::value;
                       const dim3 block(row_threads(work.C / kWidth, kMostThreads));
                       launch(work.bias == nullptr ? norm_forward_kernel<T, kWidth, kVector, false>
                                                   : norm_forward_kernel<T, kWidth, kVector, true>,
                              grid_of(work.N), block, 0, stream, work);
                     });
}

template void norm_forward(const NormForward<float>&, cudaStream_t);
template void norm_forward(const NormForward<__nv_bfloat16>&, cudaStream_t);

}  // namespace leasehold::cuda
