// What linears need besides matrix products: what follows a product that cuBLASLt does not finish
// itself, and sums of columns. Element types T are float and __nv_bfloat16; values are computed in
// fp32 and rounded once. A null pointer stands for an absent tensor.
#pragma once

#include <cstdint>
#include <cuda_bf16.h>
#include <cuda_runtime.h>

namespace leasehold::cuda {

// With value = product (rows, columns) + bias (columns) or nothing: pre or nothing = value, y =
// gelu(value) or value.
template <typename T>
struct LinearFinish {
  const float* product;
  const T* bias;
  bool gelu;
  T* pre;
  T* y;
  int64_t rows, columns;
};
template <typename T>
void finish_linear(const LinearFinish<T>& work, cudaStream_t stream);

// dx (count) = product * gelu'(pre).
template <typename T>
void finish_gelu_gradient(const float* product, const T* pre, T* dx, int64_t count,
                          cudaStream_t stream);

// sums (columns) = or, with accumulate, += the column sums of x (rows, columns): rows in at most
// kMostGroups groups, each summed in ascending order, groups in ascending order. How many groups is
// a matter of the extents and of scratch_bytes, which must hold a row of floats.
template <typename T>
struct ColumnSums {
  static constexpr int64_t kMostGroups = 64;
  const T* x;
  float* sums;
  bool accumulate;
  int64_t rows, columns;
  float* scratch;
  int64_t scratch_bytes;
};
template <typename T>
void sum_columns(const ColumnSums<T>& work, cudaStream_t stream);

}  // namespace leasehold::cuda
