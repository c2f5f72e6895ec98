// Launchers of causal attention (contract: Kernels::attention_forward and _backward in
// runtime/tensor/kernels.h), in the manner of FlashAttention-2 (Dao, arXiv:2307.08691): a block of
// queries meets the keys tile by tile and keeps a running maximum and sum, so that nothing of size
// T^2 is ever stored; backward computes probabilities again from log_sum_exp.
//
// bf16: tensor cores with fp32 accumulators; probabilities (after dropout) and dS are rounded to
// bf16 where they are multiplied, everything else between is fp32. fp32: fused multiply-adds. Sums
// run in an order that the shape alone decides. Backward makes dq in one pass over the tiles and dk
// with dv in another, since a single pass would have to add to dq from many blocks.
#pragma once

#include <cstdint>

#include "runtime/tensor/cuda/philox.h"

namespace leasehold::cuda {

// Channels of a head, at most.
constexpr int64_t kMaxHeadChannels = 256;

// AttentionShape with all_heads > 0, T below 2^31. qkv is (B, T, G, R + 2, D), H = G R.
struct AttentionSizes {
  int64_t B = 0, T = 0, G = 0, R = 0, D = 0;
  int64_t first_head = 0, all_heads = 0;
};

template <typename T>
struct AttentionForward {
  AttentionSizes sizes;
  const T* qkv = nullptr;
  T* out = nullptr;              // (B, T, H, D)
  float* log_sum_exp = nullptr;  // (B, H, T)
  DropoutMask dropout;
};

template <typename T>
struct AttentionBackward {
  AttentionSizes sizes;
  const T* dout = nullptr;
  const T* qkv = nullptr;
  const T* out = nullptr;
  const float* log_sum_exp = nullptr;
  T* dqkv = nullptr;
  float* workspace = nullptr;  // attention_workspace_bytes
  DropoutMask dropout;
};

// D <= kMaxHeadChannels.
void attention_forward(const AttentionForward<float>& work, cudaStream_t stream);
void attention_forward(const AttentionForward<__nv_bfloat16>& work, cudaStream_t stream);
void attention_backward(const AttentionBackward<float>& work, cudaStream_t stream);
void attention_backward(const AttentionBackward<__nv_bfloat16>& work, cudaStream_t stream);

}  // namespace leasehold::cuda
