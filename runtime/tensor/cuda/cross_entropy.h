// Cross entropy and its gradient (contracts: runtime/tensor/kernels.h), of float and __nv_bfloat16
// logits. With for_gradient the first of the two calls leaves the logits as they are.
#pragma once

#include "runtime/device/cuda_fault.h"
#include "runtime/tensor/cuda/dialect.h"

namespace leasehold::cuda {

// Rows and columns of logits, rows beginning `stride` elements apart, and where the columns lie in
// the whole vocabulary.
template <typename T>
struct Logits {
  int64_t N = 0, V = 0, stride = 0;
  T* values = nullptr;
  const int32_t* targets = nullptr;
  int64_t shard_index = 0, num_shards = 1;
  FaultWord* fault = nullptr;
};

// losses (N), the rows' own, are the workspace; loss (1) their sum.
template <typename T>
void cross_entropy(const Logits<T>& logits, float gradient_scale, double* losses, double* loss,
                   cudaStream_t stream);
template <typename T>
void cross_entropy_statistics(const Logits<T>& logits, double* statistics, cudaStream_t stream);
// logits.values is null where gradient_scale is 0.
template <typename T>
void cross_entropy_from_statistics(const Logits<T>& logits, const double* statistics,
                                   float gradient_scale, double* losses, double* loss,
                                   cudaStream_t stream);

}  // namespace leasehold::cuda
