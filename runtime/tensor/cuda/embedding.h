// Embeddings and their gradients (contracts: runtime/tensor/kernels.h), of float and __nv_bfloat16.
#pragma once

#include "runtime/device/cuda_fault.h"
#include "runtime/tensor/cuda/philox.h"

namespace leasehold::cuda {

// The tokens of a call and the part of the vocabulary that the table here holds.
struct Tokens {
  int64_t B = 0, T = 0;
  const int32_t* ids = nullptr;  // (B, T)
  int64_t V = 0;                 // rows of the table here
  int64_t shard_index = 0, num_shards = 1;
  FaultWord* fault = nullptr;
};

template <typename T>
struct EmbeddingForward {
  Tokens tokens;
  int64_t C = 0;
  const T* token_weight = nullptr;
  const T* position_weight = nullptr;  // or null
  DropoutMask dropout;
  T* out = nullptr;
};
template <typename T>
void embedding_forward(const EmbeddingForward<T>& work, cudaStream_t stream);

template <typename T>
struct EmbeddingBackward {
  Tokens tokens;
  int64_t C = 0;
  const T* dout = nullptr;
  DropoutMask dropout;
  float* dtoken_weight = nullptr;
  float* dposition_weight = nullptr;  // (num_positions, C) or null
  int64_t num_positions = 0;
  bool accumulate = false;
  void* workspace = nullptr;  // embedding_backward_workspace_bytes
};
// Every element is a sum over its token's rows of dout in ascending order, by one thread.
template <typename T>
void embedding_backward(const EmbeddingBackward<T>& work, cudaStream_t stream);

}  // namespace leasehold::cuda
