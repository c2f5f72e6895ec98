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

constexpr int kColumnThreads = 128;

// partial[group * columns + column] = the sum of the column over the group's rows.
template <typename T>
__global__ void __launch_bounds__(kColumnThreads)
    sum_group_kernel(const T* x, float* partial, int64_t rows, int64_t columns,
                     int64_t group_rows) {
  const int64_t column = int64_t{blockIdx.x} * kColumnThreads + threadIdx.x;
  if (column >= columns) return;
  const int64_t begin = blockIdx.y * group_rows;
  const int64_t end = begin + group_rows < rows ? begin + group_rows : rows;
  float sum = 0;
  for (int64_t row = begin; row < end; ++row)
    sum += Convert<float>::from(x[row * columns + column]);
  partial[blockIdx.y * columns + column] = sum;
}

template <bool kAccumulate>
__global__ void __launch_bounds__(kColumnThreads)
    add_groups_kernel(const float* partial, float* sums, int64_t num_groups, int64_t columns) {
  const int64_t column = int64_t{blockIdx.x} * kColumnThreads + threadIdx.x;
  if (column >= columns) return;
  float sum = 0;
  for (int64_t group = 0; group < num_groups; ++group) sum += partial[group * columns + column];
  sums[column] = kAccumulate ? sums[column] + sum : sum;
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

template <typename T>
void sum_columns(const ColumnSums<T>& work, cudaStream_t stream) {
  constexpr int64_t kLeastGroupRows = 32;
  const int64_t room = work.scratch_bytes / (work.columns * static_cast<int64_t>(sizeof(float)));
  int64_t num_groups = ceil_divide(work.rows, kLeastGroupRows);
  if (num_groups > ColumnSums<T>::kMostGroups) num_groups = ColumnSums<T>::kMostGroups;
  if (num_groups > room) num_groups = room;
  const int64_t group_rows = ceil_divide(work.rows, num_groups);
  num_groups = ceil_divide(work.rows, group_rows);
  const int64_t blocks = ceil_divide(work.columns, kColumnThreads);
  launch(sum_group_kernel<T>, grid_of(blocks, num_groups), dim3(kColumnThreads), 0, stream, work.x,
         work.scratch, work.rows, work.columns, group_rows);
  launch(work.accumulate ? add_groups_kernel<true> : add_groups_kernel<false>, grid_of(blocks),
         dim3(kColumnThreads), 0, stream, work.scratch, work.sums, num_groups, work.columns);
}

template void finish_linear(const LinearFinish<float>&, cudaStream_t);
template void finish_linear(const LinearFinish<__nv_bfloat16>&, cudaStream_t);
template void finish_gelu_gradient(const float*, const float*, float*, int64_t, cudaStream_t);
template void finish_gelu_gradient(const float*, const __nv_bfloat16*, __nv_bfloat16*, int64_t,
                                   cudaStream_t);
template void sum_columns(const ColumnSums<float>&, cudaStream_t);
template void sum_columns(const ColumnSums<__nv_bfloat16>&, cudaStream_t);

}  // namespace leasehold::cuda
