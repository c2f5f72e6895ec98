// Elementwise launchers of Kernels (contracts: runtime/tensor/kernels.h). Element types are float
// and __nv_bfloat16, and double where said. A null pointer stands for an absent tensor. Values are
// computed in fp32 (in double for double) and rounded once.
#pragma once

#include "runtime/tensor/cuda/philox.h"

namespace leasehold::cuda {

// out = x or nothing + delta * dropout's factor. out may alias x or delta.
template <typename T>
void residual_add(const T* x, const T* delta, const DropoutMask& dropout, T* out, int64_t count,
                  cudaStream_t stream);

// out = left + right; also of double. out may alias either.
template <typename T>
void add(const T* left, const T* right, T* out, int64_t count, cudaStream_t stream);

// out (count) = the sum of parts (num_parts, count) in ascending order, num_parts >= 1.
template <typename T>
void sum_parts(const T* parts, int64_t num_parts, T* out, int64_t count, cudaStream_t stream);

// out = value; also of double.
template <typename T>
void fill(T* out, float value, int64_t count, cudaStream_t stream);

// out = in; From and To also double.
template <typename From, typename To>
void cast(const From* in, To* out, int64_t count, cudaStream_t stream);

}  // namespace leasehold::cuda
