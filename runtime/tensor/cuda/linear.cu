#include "runtime/tensor/cuda/gelu.h"
#include "runtime/tensor/cuda/linear.h"
#include "runtime/tensor/cuda/map.h"

namespace leasehold::cuda {

namespace {

template <typename T, int kPackWidth, bool kHasBias, bool kGelu>
struct FinishOp {
  static constexpr int kWidth = kPackWidth;
  LinearFinish<T> work;

  template <bool kVector>
  __device__ void run(int64_t i, int count) const {
    float values[kWidth];
    load<kVector>(work.product + i, count, values);
    if constexpr (kHasBias) {
      float bias[kWidth];
      load<kVector>(work.bias + i % work.columns, count, bias);
#pragma unroll
      for (int j = 0; j < kWidth; ++j) values[j] += bias[j];
    }
    if (work.pre != nullptr) store<kVector>(work.pre + i, count, values);
    if constexpr (kGelu) {
#pragma unroll
      for (int j = 0; j < kWidth; ++j) values[j] = gelu(values[j]);
    }
    store<kVector>(work.y + i, count, values);
  }
};

template <typename T, int kPackWidth>
struct GeluGradientOp {
  static constexpr int kWidth = kPackWidth;
  const float* product;
  const T* pre;
  T* dx;

  template <bool kVector>
  __device__ void run(int64_t i, int count) const {
    float values[kWidth], before[kWidth];
    load<kVector>(product + i, count, values);
    load<kVector>(pre + i, count, before);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) values[j] *= gelu_derivative(before[j]);
    store<kVector>(dx + i, count, values);
  }
};

template <typename T, int kPackWidth>
void launch_finish(const LinearFinish<T>& work, cudaStream_t stream) {
  const int64_t count = work.rows * work.columns;
  const bool aligned = are_aligned({work.product, work.bias, work.pre, work.y});
  const auto run = [&](const auto& op) { launch_map(op, count, aligned, stream); };
  if (work.bias == nullptr && work.gelu) return run(FinishOp<T, kPackWidth, false, true>{work});
  if (work.bias == nullptr) return run(FinishOp<T, kPackWidth, false, false>{work});
  if (work.gelu) return run(FinishOp<T, kPackWidth, true, true>{work});
  run(FinishOp<T, kPackWidth, true, false>{work});
}

}  // namespace

template <typename T>
void finish_linear(const LinearFinish<T>& work, cudaStream_t stream) {
  if (work.columns % kPack<T> == 0) return launch_finish<T, kPack<T>>(work, stream);
  launch_finish<T, 1>(work, stream);
}

template <typename T>
void finish_gelu_gradient(const float* product, const T* pre, T* dx, int64_t count,
                          cudaStream_t stream) {
  launch_map(GeluGradientOp<T, kPack<T>>{product, pre, dx}, count, are_aligned({product, pre, dx}),
             stream);
}

template void finish_linear(const LinearFinish<float>&, cudaStream_t);
template void finish_linear(const LinearFinish<__nv_bfloat16>&, cudaStream_t);
template void finish_gelu_gradient(const float*, const float*, float*, int64_t, cudaStream_t);
template void finish_gelu_gradient(const float*, const __nv_bfloat16*, __nv_bfloat16*, int64_t,
                                   cudaStream_t);

}  // namespace leasehold::cuda
