#include "runtime/tensor/cuda/rows.h"
#include "runtime/tensor/cuda/swiglu.h"

namespace leasehold::cuda {

namespace {

constexpr int kMostThreads = 256;

// silu(x) = x sigmoid(x). 1 - sigmoid = e sigmoid with e = exp(-x), without cancellation; for x
// below -88 e overflows and sigmoid is zero, which must not become infinity times zero.
struct Silu {
  float value, derivative;
};
__device__ inline Silu silu(float x) {
  const float e = expf(-x);
  const float sigmoid = 1.0F / (1.0F + e);
  const float rest = x < -80.0F ? 1.0F : e * sigmoid;
  return {x * sigmoid, sigmoid + sigmoid * rest * x};
}

// Block (row, strip of packs).
template <typename T, int kWidth, bool kVector>
__global__ void __launch_bounds__(kMostThreads)
    swiglu_forward_kernel(const T* gate_up, T* y, int64_t F) {
  const int64_t row = blockIdx.x;
  const int64_t i = (int64_t{blockIdx.y} * blockDim.x + threadIdx.x) * kWidth;
  if (i >= F) return;
  float gate[kWidth], up[kWidth];
  load<kVector>(gate_up + row * 2 * F + i, kWidth, gate);
  load<kVector>(gate_up + row * 2 * F + F + i, kWidth, up);
#pragma unroll
  for (int j = 0; j < kWidth; ++j) up[j] *= silu(gate[j]).value;
  store<kVector>(y + row * F + i, kWidth, up);
}

template <typename T, int kWidth, bool kVector>
__global__ void __launch_bounds__(kMostThreads)
    swiglu_backward_kernel(const T* dy, const T* gate_up, T* dgate_up, int64_t F) {
  const int64_t row = blockIdx.x;
  const int64_t i = (int64_t{blockIdx.y} * blockDim.x + threadIdx.x) * kWidth;
  if (i >= F) return;
  float gate[kWidth], up[kWidth], gradient[kWidth];
  load<kVector>(gate_up + row * 2 * F + i, kWidth, gate);
  load<kVector>(gate_up + row * 2 * F + F + i, kWidth, up);
  load<kVector>(dy + row * F + i, kWidth, gradient);
#pragma unroll
  for (int j = 0; j < kWidth; ++j) {
    const Silu of_gate = silu(gate[j]);
    gate[j] = gradient[j] * up[j] * of_gate.derivative;
    up[j] = gradient[j] * of_gate.value;
  }
  store<kVector>(dgate_up + row * 2 * F + i, kWidth, gate);
  store<kVector>(dgate_up + row * 2 * F + F + i, kWidth, up);
}

// f(width, vector, grid, block)
template <typename T, typename F>
void with_strips(int64_t N, int64_t num_channels, std::initializer_list<const void*> addresses,
                 F&& f) {
  if (N == 0 || num_channels == 0) return;
  with_row_access<T>(num_channels, addresses, [&](auto width, auto vector) {
    const int64_t num_packs = num_channels / width;
    const unsigned threads = row_threads(num_packs, kMostThreads);
    f(width, vector, grid_of(N, ceil_divide(num_packs, threads)), dim3(threads));
  });
}

}  // namespace

template <typename T>
void swiglu_forward(const T* gate_up, T* y, int64_t N, int64_t F, cudaStream_t stream) {
  with_strips<T>(N, F, {gate_up, y}, [&](auto width, auto vector, dim3 grid, dim3 block) {
    launch(swiglu_forward_kernel<T, decltype(width)::value, decltype(vector)::value>, grid, block,
           0, stream, gate_up, y, F);
  });
}

template <typename T>
void swiglu_backward(const T* dy, const T* gate_up, T* dgate_up, int64_t N, int64_t F,
                     cudaStream_t stream) {
  with_strips<T>(
      N, F, {dy, gate_up, dgate_up}, [&](auto width, auto vector, dim3 grid, dim3 block) {
        launch(swiglu_backward_kernel<T, decltype(width)::value, decltype(vector)::value>, grid,
               block, 0, stream, dy, gate_up, dgate_up, F);
      });
}

#define LEASEHOLD_INSTANTIATE(T)                                              \
  template void swiglu_forward(const T*, T*, int64_t, int64_t, cudaStream_t); \
  template void swiglu_backward(const T*, const T*, T*, int64_t, int64_t, cudaStream_t)
LEASEHOLD_INSTANTIATE(float);
LEASEHOLD_INSTANTIATE(__nv_bfloat16);
#undef LEASEHOLD_INSTANTIATE

}  // namespace leasehold::cuda
