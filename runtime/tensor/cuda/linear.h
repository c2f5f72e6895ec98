// What follows the matrix product of a linear where cuBLASLt does not finish it itself. Element
// types T are float and __nv_bfloat16; values are computed in fp32 and rounded once. A null pointer
// stands for an absent tensor.
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

}  // namespace leasehold::cuda
