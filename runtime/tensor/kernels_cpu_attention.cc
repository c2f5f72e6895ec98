#include "runtime/tensor/kernels_cpu_attention.h"

#include "runtime/tensor/kernels_cpu.h"
#include "runtime/tensor/kernels_cpu_dropout.h"
#include "runtime/tensor/kernels_cpu_gemm.h"
#include "runtime/tensor/kernels_cpu_math.h"

namespace leasehold::cpu {

namespace {

// Turns a row of `valid` scores into exponentials (with dropout), zero up to `keys`. Gives back the
// sum of the exponentials before dropout; *log_sum_exp is set.
float exponentiate(const AttentionForward& work, const Head& head, int64_t query, int64_t keys,
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
  *log_sum_exp = static_cast<float>(static_cast<double>(largest) + log_f64(sum));
  return sum;
}

void forward_block(const AttentionForward& work, const Head& head, const QueryBlock& block,
                   float* scores) {
  const AttentionShape& shape = work.shape;
  const int64_t stride = qkv_stride(shape);
  const int64_t ld = score_stride(shape);
  const float* q = work.qkv + head.query_offset(shape) + block.first * stride;
  const float* k = work.qkv + head.key_offset(shape);
  const float* v = work.qkv + head.value_offset(shape);
  float* out = work.out + head.out_offset(shape) + block.first * out_stride(shape);
  float* log_sum_exp = work.log_sum_exp + head.index(shape) * shape.T + block.first;

  sgemm(Transpose::kNo, Transpose::kYes, block.rows, block.keys, shape.D, attention_scale(shape), q,
        stride, k, stride, 0.0F, scores, ld);
  float sums[kQueryRows];
  for (int64_t i = 0; i < block.rows; ++i) {
    sums[i] =
        exponentiate(work, head, block.first + i, block.keys, scores + i * ld, log_sum_exp + i);
  }
  sgemm(Transpose::kNo, Transpose::kNo, block.rows, shape.D, block.keys, 1.0F, scores, ld, v,
        stride, 0.0F, out, out_stride(shape));
  for (int64_t i = 0; i < block.rows; ++i) {
    const float factor = 1.0F / sums[i];
    float* row = out + i * out_stride(shape);
    for (int64_t d = 0; d < shape.D; ++d) row[d] *= factor;
  }
}

}  // namespace

int64_t attention_forward_workspace_bytes(const AttentionShape& shape, int num_threads) {
  return num_threads * kQueryRows * score_stride(shape) * static_cast<int64_t>(sizeof(float));
}

void run(ThreadPool& pool, const AttentionForward& work) {
  const AttentionShape& shape = work.shape;
  const int64_t num_heads = shape.B * shape.H();
  const int64_t num_blocks = num_query_blocks(shape);
  // The longest blocks first, so that the short ones fill the end.
  pool.run(num_heads * num_blocks, [&](int64_t task, int worker) {
    const int64_t index = task % num_heads;
    const Head head{index / shape.H(), index % shape.H() / shape.R, index % shape.R};
    float* scores = static_cast<float*>(work.workspace) + worker * kQueryRows * score_stride(shape);
    forward_block(work, head, query_block(shape, num_blocks - 1 - task / num_heads), scores);
  });
}

}  // namespace leasehold::cpu
