// The computations behind the CPU kernels, one struct of plain arguments and one `run` each, a
// family to a file. E is the element of activations and weights, float or Bf16; what is float in
// either is of gradient_dtype(). `run` computes on the calling thread and the pool and returns when
// all is done. A struct is what travels through a stream's queue, so it is trivially copyable and
// holds views only; a null pointer stands for an absent tensor. Contracts, letters and formulas:
// runtime/tensor/kernels.h.
#pragma once

#include <cstdint>

#include "runtime/base/thread_pool.h"
#include "runtime/tensor/kernels.h"

namespace leasehold::cpu {

// Raised when a kernel's order of operations changes, since bits change with it. Part of the
// arithmetic class.
constexpr int kRevision = 1;

// kernels_cpu_linear.cc, kernels_cpu_linear_bf16.cc. panels: kernels_cpu_gemm_bf16.h; null for
// float.
template <typename E>
struct LinearForward {
  int64_t N, K, O;
  int64_t y_stride;
  const E *x, *weight, *bias;
  Activation activation;
  E *pre, *y;
  float* panels;
};
template <typename E>
struct LinearBackwardInput {
  int64_t N, K, O;
  int64_t dy_stride;
  const E *dy, *weight;
  Activation activation;
  const E* pre;
  E* dx;
  Write write;
  float* panels;
};
template <typename E>
struct LinearBackwardWeight {
  int64_t N, K, O;
  int64_t dy_stride;
  const E *dy, *x;
  float *dweight, *dbias;
  Write write;
  float* panels;
};
void run(ThreadPool& pool, const LinearForward<float>& work);
void run(ThreadPool& pool, const LinearForward<Bf16>& work);
void run(ThreadPool& pool, const LinearBackwardInput<float>& work);
void run(ThreadPool& pool, const LinearBackwardInput<Bf16>& work);
void run(ThreadPool& pool, const LinearBackwardWeight<float>& work);
void run(ThreadPool& pool, const LinearBackwardWeight<Bf16>& work);

// kernels_cpu_norm.cc
template <typename E>
struct LayerNormForward {
  int64_t N, C;
  const E *x, *delta;
  Dropout dropout;
  E* sum;
  const E *weight, *bias;
  float eps;
  E* y;
  float *mean, *rstd;
};
template <typename E>
struct LayerNormBackward {
  int64_t N, C;
  const E *dy, *input, *weight;
  const float *mean, *rstd;
  const E* dresidual;
  E* dx;
  float *dweight, *dbias;
  Write write;
  void* workspace;
};
template <typename E>
void run(ThreadPool& pool, const LayerNormForward<E>& work);
template <typename E>
void run(ThreadPool& pool, const LayerNormBackward<E>& work);
int64_t layer_norm_backward_workspace_bytes(int64_t N, int64_t C);

// kernels_cpu_rms_norm.cc
template <typename E>
struct RmsNormForward {
  int64_t N, C;
  const E *x, *delta;
  Dropout dropout;
  E* sum;
  const E* weight;
  float eps;
  E* y;
  float* rstd;
};
template <typename E>
struct RmsNormBackward {
  int64_t N, C;
  const E *dy, *input, *weight;
  const float* rstd;
  const E* dresidual;
  E* dx;
  float* dweight;
  Write write;
  void* workspace;
};
template <typename E>
void run(ThreadPool& pool, const RmsNormForward<E>& work);
template <typename E>
void run(ThreadPool& pool, const RmsNormBackward<E>& work);
int64_t rms_norm_backward_workspace_bytes(int64_t N, int64_t C);

// kernels_cpu_swiglu.cc
template <typename E>
struct SwigluForward {
  int64_t N, F;
  const E* gate_up;
  E* y;
};
template <typename E>
struct SwigluBackward {
  int64_t N, F;
  const E *dy, *gate_up;
  E* dgate_up;
};
template <typename E>
void run(ThreadPool& pool, const SwigluForward<E>& work);
template <typename E>
void run(ThreadPool& pool, const SwigluBackward<E>& work);

// kernels_cpu_embedding.cc. Token ids outside the whole vocabulary throw StatusError.
template <typename E>
struct EmbeddingForward {
  int64_t B, T, V, C;
  VocabularyShard shard;
  const int32_t* tokens;
  const E *token_weight, *position_weight;
  Dropout dropout;
  E* out;
};
template <typename E>
struct EmbeddingBackward {
  int64_t B, T, V, C, num_positions;
  VocabularyShard shard;
  const int32_t* tokens;
  const E* dout;
  Dropout dropout;
  float *dtoken_weight, *dposition_weight;
  Write write;
  void* workspace;
};
template <typename E>
void run(ThreadPool& pool, const EmbeddingForward<E>& work);
template <typename E>
void run(ThreadPool& pool, const EmbeddingBackward<E>& work);
int64_t embedding_backward_workspace_bytes(int64_t N);

// kernels_cpu_rotary.cc
template <typename E>
struct RotaryTurn {
  AttentionShape shape;
  Rotary rotary;
  E* qkv;
  bool backward;
};
template <typename E>
void run(ThreadPool& pool, const RotaryTurn<E>& work);

// kernels_cpu_attention.cc, kernels_cpu_attention_backward.cc
template <typename E>
struct AttentionForward {
  AttentionShape shape;
  const E* qkv;
  Dropout dropout;
  E* out;
  float* log_sum_exp;
  void* workspace;
};
template <typename E>
struct AttentionBackward {
  AttentionShape shape;
  const E *dout, *qkv, *out;
  const float* log_sum_exp;
  Dropout dropout;
  E* dqkv;
  void* workspace;
};
// kernels_cpu_attention_cached.cc. S positions in kv.
template <typename E>
struct AttentionCached {
  AttentionShape shape;
  int64_t S;
  const E* qkv;
  E* kv;
  E* out;
  void* workspace;
};
template <typename E>
void run(ThreadPool& pool, const AttentionForward<E>& work);
template <typename E>
void run(ThreadPool& pool, const AttentionCached<E>& work);
template <typename E>
void run(ThreadPool& pool, const AttentionBackward<E>& work);
template <typename E>
int64_t attention_forward_workspace_bytes(const AttentionShape& shape, int num_threads);
template <typename E>
int64_t attention_cached_workspace_bytes(const AttentionShape& shape, int64_t positions,
                                         int num_threads);
template <typename E>
int64_t attention_backward_workspace_bytes(const AttentionShape& shape, int num_threads);

// kernels_cpu_cross_entropy.cc. Targets beyond the whole vocabulary throw StatusError.
template <typename E>
struct CrossEntropy {
  int64_t N, V, stride;
  E* logits;
  const int32_t* targets;
  float gradient_scale;
  double* loss;
  void* workspace;
};
template <typename E>
struct CrossEntropyStatistics {
  int64_t N, V, stride;
  VocabularyShard shard;
  E* logits;
  const int32_t* targets;
  bool for_gradient;
  double* statistics;
};
template <typename E>
struct CrossEntropyFromStatistics {
  int64_t N, V, stride;
  VocabularyShard shard;
  const double* statistics;
  const int32_t* targets;
  float gradient_scale;
  E* logits;
  double* loss;
  void* workspace;
};
template <typename E>
void run(ThreadPool& pool, const CrossEntropy<E>& work);
template <typename E>
void run(ThreadPool& pool, const CrossEntropyStatistics<E>& work);
template <typename E>
void run(ThreadPool& pool, const CrossEntropyFromStatistics<E>& work);
int64_t cross_entropy_workspace_bytes(int64_t N);

// kernels_cpu_elementwise.cc
template <typename E>
struct ResidualAdd {
  int64_t count;
  const E *x, *delta;
  Dropout dropout;
  E* out;
};
struct Add {
  int64_t count;
  DType dtype;
  const void *left, *right;
  void* out;
};
template <typename E>
struct SumParts {
  int64_t num_parts, count;  // of a part
  const E* parts;
  E* out;
};
struct Fill {
  int64_t count;
  DType dtype;
  float value;
  void* out;
};
struct Cast {
  int64_t count;
  DType from, to;
  const void* in;
  void* out;
};
template <typename E>
void run(ThreadPool& pool, const ResidualAdd<E>& work);
void run(ThreadPool& pool, const Add& work);
template <typename E>
void run(ThreadPool& pool, const SumParts<E>& work);
void run(ThreadPool& pool, const Fill& work);
void run(ThreadPool& pool, const Cast& work);

// kernels_cpu_optimizer.cc
struct SquaredNorms {
  int64_t count;
  const float* x;
  float scale;
  double* sums;
};
struct AdamW {
  int64_t count;
  AdamWStep step;
  float* parameter;
  const float* gradient;
  float *m, *v;
  Bf16* working;
};
void run(ThreadPool& pool, const SquaredNorms& work);
void run(ThreadPool& pool, const AdamW& work);

}  // namespace leasehold::cpu
