#include "runtime/tensor/kernels_cpu.h"
#include "runtime/tensor/kernels_cpu_attention.h"
#include "runtime/tensor/kernels_cpu_dropout.h"
#include "runtime/tensor/kernels_cpu_elements.h"
#include "runtime/tensor/kernels_cpu_gemm.h"
#include "runtime/tensor/kernels_cpu_math.h"

namespace leasehold::cpu {

namespace {

int64_t ceil_divide(int64_t value, int64_t divisor) { return (value + divisor - 1) / divisor; }

// The query blocks of one kv head are dealt to this many tasks, each with its own sums for dk and
// dv: one where there are kv heads enough for the threads that we expect. A function of the shape
// alone.
int64_t num_splits(const AttentionShape& shape) {
  constexpr int64_t kTasks = 16;
  return std::min(shape.R * num_query_blocks(shape), ceil_divide(kTasks, shape.B * shape.G));
}

// Where dk and dv of a task lie: the gradient itself, or the split's own rows.
struct KeyValueGradient {
  float *dk, *dv;
  int64_t stride;
};

// A worker's scratch, in floats: two blocks of scores, and where E is narrow the keys and values of
// a kv head, a block's queries, output gradients and query gradients.
template <typename E>
struct Scratch {
  Scratch(const AttentionShape& shape, float* memory)
      : p(memory),
        ds(p + kQueryRows * score_stride(shape)),
        k(ds + kQueryRows * score_stride(shape)),
        v(k + shape.T * shape.D),
        q(v + shape.T * shape.D),
        dout(q + kQueryRows * shape.D),
        dq(dout + kQueryRows * shape.D) {}
  static int64_t floats(const AttentionShape& shape) {
    const int64_t copies = 2 * shape.T * shape.D + 3 * kQueryRows * shape.D;
    return 2 * kQueryRows * score_stride(shape) + (kIsNarrow<E> ? copies : 0);
  }

  float *p, *ds, *k, *v, *q, *dout, *dq;
};

// Keys and values of a kv head.
struct KeysAndValues {
  FloatRows k, v;
};

// Rows of scores become probabilities (times dropout's factors F) and rows of dP become dS. With
// out = (P F) v: dP = (dout v^T) F, dS = P (dP - rowsum(dout out)) (Dao et al., arXiv:2205.14135,
// appendix B.2). Both are rounded to E.
template <typename E>
void differentiate_row(const AttentionBackward<E>& work, const Head& head, int64_t query,
                       int64_t keys, float* p, float* ds) {
  const AttentionShape& shape = work.shape;
  const int64_t valid = query + 1;
  const int64_t at = head.out_offset(shape) + query * out_stride(shape);
  const E* out = work.out + at;
  const E* dout = work.dout + at;
  const float delta =
      lane_sum<float>(shape.D, [&](int64_t d) { return load(dout[d]) * load(out[d]); });
  const float log_sum_exp = work.log_sum_exp[head.index(shape) * shape.T + query];
  for_each_dropout_piece(work.dropout, dropout_row(shape, head, query), valid,
                         [&](int64_t begin, int64_t count, const float* factors) {
                           if (factors == nullptr) {
#pragma GCC ivdep
                             for (int64_t i = begin; i < begin + count; ++i) {
                               const float probability = exp_f32(p[i] - log_sum_exp);
                               ds[i] = through<E>(probability * (ds[i] - delta));
                               p[i] = through<E>(probability);
                             }
                           } else {
#pragma GCC ivdep
                             for (int64_t i = begin; i < begin + count; ++i) {
                               const float probability = exp_f32(p[i] - log_sum_exp);
                               ds[i] =
                                   through<E>(probability * (ds[i] * factors[i - begin] - delta));
                               p[i] = through<E>(probability * factors[i - begin]);
                             }
                           }
                         });
  std::fill(p + valid, p + keys, 0.0F);
  std::fill(ds + valid, ds + keys, 0.0F);
}

// dq of the block; its shares of dk and dv are added.
template <typename E>
void backward_block(const AttentionBackward<E>& work, const Head& head, const QueryBlock& block,
                    const KeysAndValues& kv, const Scratch<E>& scratch,
                    const KeyValueGradient& gradient) {
  const AttentionShape& shape = work.shape;
  const int64_t stride = qkv_stride(shape);
  const int64_t ld = score_stride(shape);
  const int64_t D = shape.D;
  const float scale = attention_scale(shape);
  const int64_t q_offset = head.query_offset(shape) + block.first * stride;
  const FloatRows q = as_floats(work.qkv + q_offset, stride, block.rows, D, scratch.q);
  const FloatRows dout =
      as_floats(work.dout + head.out_offset(shape) + block.first * out_stride(shape),
                out_stride(shape), block.rows, D, scratch.dout);
  float* dq = scratch.dq;
  int64_t dq_stride = D;
  if constexpr (!kIsNarrow<E>) dq = work.dqkv + q_offset, dq_stride = stride;
  float* p = scratch.p;
  float* ds = scratch.ds;

  sgemm(Transpose::kNo, Transpose::kYes, block.rows, block.keys, D, scale, q.data, q.stride,
        kv.k.data, kv.k.stride, 0.0F, p, ld);
  sgemm(Transpose::kNo, Transpose::kYes, block.rows, block.keys, D, 1.0F, dout.data, dout.stride,
        kv.v.data, kv.v.stride, 0.0F, ds, ld);
  for (int64_t i = 0; i < block.rows; ++i) {
    differentiate_row(work, head, block.first + i, block.keys, p + i * ld, ds + i * ld);
  }
  sgemm(Transpose::kYes, Transpose::kNo, block.keys, D, block.rows, 1.0F, p, ld, dout.data,
        dout.stride, 1.0F, gradient.dv, gradient.stride);
  sgemm(Transpose::kYes, Transpose::kNo, block.keys, D, block.rows, scale, ds, ld, q.data, q.stride,
        1.0F, gradient.dk, gradient.stride);
  sgemm(Transpose::kNo, Transpose::kNo, block.rows, D, block.keys, scale, ds, ld, kv.k.data,
        kv.k.stride, 0.0F, dq, dq_stride);
  if constexpr (kIsNarrow<E>) {
    for (int64_t i = 0; i < block.rows; ++i) {
      E* row = work.dqkv + q_offset + i * stride;
      for (int64_t d = 0; d < D; ++d) row[d] = rounded<E>(dq[i * D + d]);
    }
  }
}

// One kv head's share of the query blocks, longest first and in this order always.
template <typename E>
void run_split(const AttentionBackward<E>& work, int64_t b, int64_t g, int64_t split,
               const Scratch<E>& scratch, const KeyValueGradient& gradient) {
  const AttentionShape& shape = work.shape;
  const Head any{b, g, 0};
  const KeysAndValues kv{
      as_floats(work.qkv + any.key_offset(shape), qkv_stride(shape), shape.T, shape.D, scratch.k),
      as_floats(work.qkv + any.value_offset(shape), qkv_stride(shape), shape.T, shape.D,
                scratch.v)};
  for (int64_t t = 0; t < shape.T; ++t) {
    std::fill_n(gradient.dk + t * gradient.stride, shape.D, 0.0F);
    std::fill_n(gradient.dv + t * gradient.stride, shape.D, 0.0F);
  }
  const int64_t num_blocks = num_query_blocks(shape);
  for (int64_t item = split; item < num_blocks * shape.R; item += num_splits(shape)) {
    const Head head{b, g, item % shape.R};
    backward_block(work, head, query_block(shape, num_blocks - 1 - item / shape.R), kv, scratch,
                   gradient);
  }
}

// dk and dv of position t: the splits' sums (splits, 2, T, D) in ascending order.
template <typename E>
void fold_splits(const AttentionShape& shape, const float* partial, int64_t t, E* dk, E* dv) {
  const int64_t splits = num_splits(shape);
  for (int64_t d = 0; d < shape.D; ++d) {
    float sum_k = 0;
    float sum_v = 0;
    for (int64_t split = 0; split < splits; ++split) {
      sum_k += partial[(split * 2 * shape.T + t) * shape.D + d];
      sum_v += partial[((split * 2 + 1) * shape.T + t) * shape.D + d];
    }
    dk[d] = rounded<E>(sum_k);
    dv[d] = rounded<E>(sum_v);
  }
}

// Whether dk and dv are summed apart and then stored: several sums, or sums in float of what is
// stored rounded.
template <typename E>
bool sums_apart(const AttentionShape& shape) {
  return kIsNarrow<E> || num_splits(shape) > 1;
}
template <typename E>
int64_t partial_floats(const AttentionShape& shape) {
  return sums_apart<E>(shape) ? num_splits(shape) * 2 * shape.T * shape.D : 0;  // of a kv head
}

}  // namespace

template <typename E>
int64_t attention_backward_workspace_bytes(const AttentionShape& shape, int num_threads) {
  const int64_t floats =
      num_threads * Scratch<E>::floats(shape) + shape.B * shape.G * partial_floats<E>(shape);
  return floats * static_cast<int64_t>(sizeof(float));
}

template <typename E>
void run(ThreadPool& pool, const AttentionBackward<E>& work) {
  const AttentionShape& shape = work.shape;
  const int64_t splits = num_splits(shape);
  auto* workspace = static_cast<float*>(work.workspace);
  float* partials = workspace + pool.num_threads() * Scratch<E>::floats(shape);
  const auto head_of = [&](int64_t pair) { return Head{pair / shape.G, pair % shape.G, 0}; };

  pool.run(shape.B * shape.G * splits, [&](int64_t task, int worker) {
    const Head head = head_of(task / splits);
    const Scratch<E> scratch(shape, workspace + worker * Scratch<E>::floats(shape));
    float* partial = partials + task * 2 * shape.T * shape.D;
    KeyValueGradient gradient{partial, partial + shape.T * shape.D, shape.D};
    if constexpr (!kIsNarrow<E>) {
      if (splits == 1) {
        gradient = {work.dqkv + head.key_offset(shape), work.dqkv + head.value_offset(shape),
                    qkv_stride(shape)};
      }
    }
    run_split(work, head.b, head.g, task % splits, scratch, gradient);
  });
  if (!sums_apart<E>(shape)) return;
  pool.run(shape.B * shape.G * num_query_blocks(shape), [&](int64_t task, int) {
    const int64_t pair = task / num_query_blocks(shape);
    const Head head = head_of(pair);
    const QueryBlock block = query_block(shape, task % num_query_blocks(shape));
    for (int64_t t = block.first; t < block.first + block.rows; ++t) {
      const int64_t at = t * qkv_stride(shape);
      fold_splits(shape, partials + pair * partial_floats<E>(shape), t,
                  work.dqkv + head.key_offset(shape) + at,
                  work.dqkv + head.value_offset(shape) + at);
    }
  });
}

template void run(ThreadPool& pool, const AttentionBackward<float>& work);
template void run(ThreadPool& pool, const AttentionBackward<Bf16>& work);
template int64_t attention_backward_workspace_bytes<float>(const AttentionShape&, int);
template int64_t attention_backward_workspace_bytes<Bf16>(const AttentionShape&, int);

}  // namespace leasehold::cpu
