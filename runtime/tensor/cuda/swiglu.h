// SwiGLU (contract: runtime/tensor/kernels.h), of float and __nv_bfloat16.
#pragma once

#include "runtime/tensor/cuda/dialect.h"

namespace leasehold::cuda {

// y (N, F) from gate_up (N, 2 F).
template <typename T>
void swiglu_forward(const T* gate_up, T* y, int64_t N, int64_t F, cudaStream_t stream);

// dgate_up (N, 2 F) from dy (N, F) and gate_up, which it may alias.
template <typename T>
void swiglu_backward(const T* dy, const T* gate_up, T* dgate_up, int64_t N, int64_t F,
                     cudaStream_t stream);

}  // namespace leasehold::cuda
