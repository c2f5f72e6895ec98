#include "runtime/tensor/kernels_cpu_attention.h"

#include "runtime/tensor/kernels_cpu.h"
#include "runtime/tensor/kernels_cpu_dropout.h"
#include "runtime/tensor/kernels_cpu_elements.h"
#include "runtime/tensor/kernels_cpu_gemm.h"
#include "runtime/tensor/kernels_cpu_math.h"

namespace leasehold::cpu {

namespace {

// Turns a row of `valid` scores into exponentials (with dropout, rounded to E), zero up to `keys`.
// Gives back the sum of the exponentials before dropout and rounding; *log_sum_exp is set.
template <typename E>
float exponentiate(const AttentionForward<E>& work, const Head& head, int64_t query, int64_t keys,
                   float* row, float* log_sum_exp) {
  const int64_t valid = query + 1;
  const float largest = lane_max(valid, [&](int64_t i) { return row[i]; });
  const float sum = lane_sum<float>(valid, [&](int64_t i) {
    const float exponential = exp_f32(row[i] - largest);
    row[i] = exponential;
    return exponential;
  });
  std::fill(row + valid, row + keys, 0.0F);
  for_each_dropout_piece(work.dropout, dropout_row(work.shape, head, query), valid,
                         [&](int64_t begin, int64_t count, const float* factors) {
                           if (factors == nullptr) return;
                           for (int64_t i = 0; i < count; ++i) row[begin + i] *= factors[i];
                         });
  if constexpr (kIsNarrow<E>) {
    for (int64_t i = 0; i < valid; ++i) row[i] = through<E>(row[i]);
  }
  *log_sum_exp = static_cast<float>(static_cast<double>(largest) + log_f64(sum));
  return sum;
}

// A worker's scratch, in floats: scores of a block, and where E is narrow the block's queries, the
// keys and values that it sees, and its output.
template <typename E>
struct Scratch {
  Scratch(const AttentionShape& shape, float* memory)
      : scores(memory),
        q(scores + kQueryRows * score_stride(shape)),
        k(q + kQueryRows * shape.D),
        v(k + shape.T * shape.D),
        out(v + shape.T * shape.D) {}
  static int64_t floats(const AttentionShape& shape) {
    const int64_t copies = 2 * kQueryRows * shape.D + 2 * shape.T * shape.D;
    return kQueryRows * score_stride(shape) + (kIsNarrow<E> ? copies : 0);
  }

  float *scores, *q, *k, *v, *out;
};

template <typename E>
void forward_block(const AttentionForward<E>& work, const Head& head, const QueryBlock& block,
                   const Scratch<E>& scratch) {
  const AttentionShape& shape = work.shape;
  const int64_t stride = qkv_stride(shape), D = shape.D;
  const int64_t ld = score_stride(shape);
  float* scores = scratch.scores;
  const E* queries = work.qkv + head.query_offset(shape) + block.first * stride;
  const FloatRows q = as_floats(queries, stride, block.rows, D, scratch.q);
  const FloatRows k =
      as_floats(work.qkv + head.key_offset(shape), stride, block.keys, D, scratch.k);
  const FloatRows v =
      as_floats(work.qkv + head.value_offset(shape), stride, block.keys, D, scratch.v);
  E* out = work.out + head.out_offset(shape) + block.first * out_stride(shape);
  float* sum = scratch.out;
  int64_t sum_stride = D;
  if constexpr (!kIsNarrow<E>) sum = out, sum_stride = out_stride(shape);
  float* log_sum_exp = work.log_sum_exp + head.index(shape) * shape.T + block.first;

  sgemm(Transpose::kNo, Transpose::kYes, block.rows, block.keys, D, attention_scale(shape), q.data,
        q.stride, k.data, k.stride, 0.0F, scores, ld);
  float sums[kQueryRows];
  for (int64_t i = 0; i < block.rows; ++i) {
    sums[i] =
        exponentiate(work, head, block.first + i, block.keys, scores + i * ld, log_sum_exp + i);
  }
  sgemm(Transpose::kNo, Transpose::kNo, block.rows, D, block.keys, 1.0F, scores, ld, v.data,
        v.stride, 0.0F, sum, sum_stride);
  for (int64_t i = 0; i < block.rows; ++i) {
    const float factor = 1.0F / sums[i];
    const float* from = sum + i * sum_stride;
    E* row = out + i * out_stride(shape);
#pragma GCC ivdep
    for (int64_t d = 0; d < D; ++d) row[d] = rounded<E>(from[d] * factor);
  }
}

}  // namespace

template <typename E>
int64_t attention_forward_workspace_bytes(const AttentionShape& shape, int num_threads) {
  return num_threads * Scratch<E>::floats(shape) * static_cast<int64_t>(sizeof(float));
}

template <typename E>
void run(ThreadPool& pool, const AttentionForward<E>& work) {
  const AttentionShape& shape = work.shape;
  const int64_t num_heads = shape.B * shape.H();
  const int64_t num_blocks = num_query_blocks(shape);
  // The longest blocks first, so that the short ones fill the end.
  pool.run(num_heads * num_blocks, [&](int64_t task, int worker) {
    const int64_t index = task % num_heads;
    const Head head{index / shape.H(), index % shape.H() / shape.R, index % shape.R};
    float* memory = static_cast<float*>(work.workspace) + worker * Scratch<E>::floats(shape);
    forward_block(work, head, query_block(shape, num_blocks - 1 - task / num_heads),
                  Scratch<E>(shape, memory));
  });
}

template void run(ThreadPool& pool, const AttentionForward<float>& work);
template void run(ThreadPool& pool, const AttentionForward<Bf16>& work);
template int64_t attention_forward_workspace_bytes<float>(const AttentionShape&, int);
template int64_t attention_forward_workspace_bytes<Bf16>(const AttentionShape&, int);

}  // namespace leasehold::cpu
