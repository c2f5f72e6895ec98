// The computations behind the CPU kernels, one struct of plain arguments and one `run` each, a
// family to a file. `run` computes on the calling thread and the pool and returns when all is done.
// A struct is what travels through a stream's queue, so it is trivially copyable and holds views
// only; a null pointer stands for an absent tensor. Contracts, letters and formulas:
// runtime/tensor/kernels.h.
#pragma once

#include <cstdint>

#include "runtime/base/thread_pool.h"
#include "runtime/tensor/kernels.h"

namespace leasehold::cpu {

// Raised when a kernel's order of operations changes, since bits change with it. Part of the
// arithmetic class.
constexpr int kRevision = 1;

// kernels_cpu_linear.cc
struct LinearForward {
  int64_t N, K, O;
  const float *x, *weight, *bias;
  Activation activation;
  float *pre, *y;
};
struct LinearBackwardInput {
  int64_t N, K, O;
  const float *dy, *weight;
  Activation activation;
  const float* pre;
  float* dx;
  Write write;
};
struct LinearBackwardWeight {
  int64_t N, K, O;
  const float *dy, *x;
  float *dweight, *dbias;
  Write write;
};
void run(ThreadPool& pool, const LinearForward& work);
void run(ThreadPool& pool, const LinearBackwardInput& work);
void run(ThreadPool& pool, const LinearBackwardWeight& work);

// kernels_cpu_norm.cc
struct LayerNormForward {
  int64_t N, C;
  const float *x, *delta;
  Dropout dropout;
  float* sum;
  const float *weight, *bias;
  float eps;
  float *y, *mean, *rstd;
};
struct LayerNormBackward {
  int64_t N, C;
  const float *dy, *input, *weight, *mean, *rstd, *dresidual;
  float *dx, *dweight, *dbias;
  Write write;
  void* workspace;
};
void run(ThreadPool& pool, const LayerNormForward& work);
void run(ThreadPool& pool, const LayerNormBackward& work);
int64_t layer_norm_backward_workspace_bytes(int64_t N, int64_t C);

// kernels_cpu_rms_norm.cc
struct RmsNormForward {
  int64_t N, C;
  const float *x, *delta;
  Dropout dropout;
  float* sum;
  const float* weight;
  float eps;
  float *y, *rstd;
};
struct RmsNormBackward {
  int64_t N, C;
  const float *dy, *input, *weight, *rstd, *dresidual;
  float *dx, *dweight;
  Write write;
  void* workspace;
};
void run(ThreadPool& pool, const RmsNormForward& work);
void run(ThreadPool& pool, const RmsNormBackward& work);
int64_t rms_norm_backward_workspace_bytes(int64_t N, int64_t C);

// kernels_cpu_swiglu.cc
struct SwigluForward {
  int64_t N, F;
  const float* gate_up;
  float* y;
};
struct SwigluBackward {
  int64_t N, F;
  const float *dy, *gate_up;
  float* dgate_up;
};
void run(ThreadPool& pool, const SwigluForward& work);
void run(ThreadPool& pool, const SwigluBackward& work);

// kernels_cpu_embedding.cc. Token ids outside the whole vocabulary throw StatusError.
struct EmbeddingForward {
  int64_t B, T, V, C;
  VocabularyShard shard;
  const int32_t* tokens;
  const float *token_weight, *position_weight;
  Dropout dropout;
  float* out;
};
struct EmbeddingBackward {
  int64_t B, T, V, C, num_positions;
  VocabularyShard shard;
  const int32_t* tokens;
  const float* dout;
  Dropout dropout;
  float *dtoken_weight, *dposition_weight;
  Write write;
  void* workspace;
};
void run(ThreadPool& pool, const EmbeddingForward& work);
void run(ThreadPool& pool, const EmbeddingBackward& work);
int64_t embedding_backward_workspace_bytes(int64_t N);

// kernels_cpu_rotary.cc
struct RotaryTurn {
  AttentionShape shape;
  Rotary rotary;
  float* qkv;
  bool backward;
};
void run(ThreadPool& pool, const RotaryTurn& work);

// kernels_cpu_attention.cc, kernels_cpu_attention_backward.cc
struct AttentionForward {
  AttentionShape shape;
  const float* qkv;
  Dropout dropout;
  float *out, *log_sum_exp;
  void* workspace;
};
struct AttentionBackward {
  AttentionShape shape;
  const float *dout, *qkv, *out, *log_sum_exp;
  Dropout dropout;
  float* dqkv;
  void* workspace;
};
void run(ThreadPool& pool, const AttentionForward& work);
void run(ThreadPool& pool, const AttentionBackward& work);
int64_t attention_forward_workspace_bytes(const AttentionShape& shape, int num_threads);
int64_t attention_backward_workspace_bytes(const AttentionShape& shape, int num_threads);

// kernels_cpu_cross_entropy.cc. Targets beyond the whole vocabulary throw StatusError.
struct CrossEntropy {
  int64_t N, V;
  float* logits;
  const int32_t* targets;
  float gradient_scale;
  double* loss;
  void* workspace;
};
struct CrossEntropyStatistics {
  int64_t N, V;
  VocabularyShard shard;
  float* logits;
  const int32_t* targets;
  bool for_gradient;
  double* statistics;
};
struct CrossEntropyFromStatistics {
  int64_t N, V;
  VocabularyShard shard;
  const double* statistics;
  const int32_t* targets;
  float gradient_scale;
  float* logits;
  double* loss;
  void* workspace;
};
void run(ThreadPool& pool, const CrossEntropy& work);
void run(ThreadPool& pool, const CrossEntropyStatistics& work);
void run(ThreadPool& pool, const CrossEntropyFromStatistics& work);
int64_t cross_entropy_workspace_bytes(int64_t N);

// kernels_cpu_elementwise.cc
struct ResidualAdd {
  int64_t count;
  const float *x, *delta;
  Dropout dropout;
  float* out;
};
struct Add {
  int64_t count;
  DType dtype;
  const void *left, *right;
  void* out;
};
struct SumParts {
  int64_t num_parts, count;  // of a part
  const float* parts;
  float* out;
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
void run(ThreadPool& pool, const ResidualAdd& work);
void run(ThreadPool& pool, const Add& work);
void run(ThreadPool& pool, const SumParts& work);
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
};
void run(ThreadPool& pool, const SquaredNorms& work);
void run(ThreadPool& pool, const AdamW& work);

}  // namespace leasehold::cpu
