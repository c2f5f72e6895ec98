// Layer norm and RMS norm (contracts: runtime/tensor/kernels.h). Element types are float and
// __nv_bfloat16; a null pointer stands for an absent tensor. RMS norm is layer norm without bias
// and mean: those pointers are null for it, and only for it.
#pragma once

#include "runtime/tensor/cuda/philox.h"

namespace leasehold::cuda {

template <typename T>
struct NormForward {
  int64_t N = 0, C = 0;
  const T* x = nullptr;
  const T* delta = nullptr;
  DropoutMask dropout;
  T* sum = nullptr;  // may alias x or delta
  const T* weight = nullptr;
  const T* bias = nullptr;
  float eps = 0;
  T* y = nullptr;
  float* mean = nullptr;
  float* rstd = nullptr;
};
template <typename T>
void norm_forward(const NormForward<T>& work, cudaStream_t stream);

template <typename T>
struct NormBackward {
  int64_t N = 0, C = 0;
  const T* dy = nullptr;
  const T* input = nullptr;
  const T* weight = nullptr;
  const float* mean = nullptr;
  const float* rstd = nullptr;
  const T* dresidual = nullptr;
  T* dx = nullptr;  // may alias dresidual or dy
  float* dweight = nullptr;
  float* dbias = nullptr;
  bool accumulate = false;
  float* workspace = nullptr;  // norm_backward_workspace_bytes
};
// Rows are summed in groups that N and C decide; the groups' sums in a fixed tree.
template <typename T>
void norm_backward(const NormBackward<T>& work, cudaStream_t stream);

}  // namespace leasehold::cuda
