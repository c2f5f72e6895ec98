// Attention of a text's newest positions to the whole text. Several queries at once are products of
// matrices, as in kernels_cpu_attention.cc. For one query, reading keys and values takes the time:
// they are read once for all query heads of a kv head, in runs whose sums are joined in order.
#include <cstring>

#include "runtime/tensor/kernels_cpu.h"
#include "runtime/tensor/kernels_cpu_attention.h"
#include "runtime/tensor/kernels_cpu_elements.h"
#include "runtime/tensor/kernels_cpu_gemm.h"
#include "runtime/tensor/kernels_cpu_math.h"

namespace leasehold::cpu {

namespace {

constexpr int64_t kRun = 1024;  // keys that one task reads for one query

int64_t ceil_runs(int64_t keys) { return (keys + kRun - 1) / kRun; }

// Returns the elements from one position to the next in kv (B, S, G, 2, D).
int64_t kv_stride(const AttentionShape& shape) { return shape.G * 2 * shape.D; }

template <typename E>
E* kv_at(const AttentionCached<E>& work, int64_t b, int64_t position, int64_t g) {
  return work.kv + (b * work.S + position) * kv_stride(work.shape) + g * 2 * work.shape.D;
}

// Copies the new positions' keys and values into kv: a head's lie next to each other in qkv too.
template <typename E>
void append(const AttentionCached<E>& work) {
  const AttentionShape& shape = work.shape;
  for (int64_t b = 0; b < shape.B; ++b) {
    for (int64_t t = 0; t < shape.T; ++t) {
      for (int64_t g = 0; g < shape.G; ++g) {
        const int64_t group = (b * shape.T + t) * shape.G + g;
        std::memcpy(kv_at(work, b, work.shape.first_position + t, g),
                    work.qkv + (group * (shape.R + 2) + shape.R) * shape.D,
                    static_cast<size_t>(2 * shape.D) * sizeof(E));
      }
    }
  }
}

// The result of one run of keys for one query head: the largest score, the sum of the exponentials,
// and their products with the values.
struct RunResult {
  float* largest;
  float* sum;
  float* out;  // (D)
};

// Scratch of one query: a RunResult for each query head and run, and each worker's scores and
// query.
struct QueryScratch {
  static int64_t result_floats(const AttentionShape& shape) { return 2 + shape.D; }
  static int64_t worker_floats(const AttentionShape& shape) { return kRun + shape.R * shape.D; }
  static int64_t floats(const AttentionShape& shape, int64_t keys, int num_threads) {
    return shape.B * shape.H() * ceil_runs(keys) * result_floats(shape) +
           num_threads * worker_floats(shape);
  }

  // `head` in (B, H).
  RunResult result(int64_t head, int64_t run) const {
    float* at = memory + (head * num_runs + run) * result_floats(shape);
    return {at, at + 1, at + 2};
  }
  float* scores(int worker) const {
    return memory + shape.B * shape.H() * num_runs * result_floats(shape) +
           worker * worker_floats(shape);
  }
  float* queries(int worker) const { return scores(worker) + kRun; }

  const AttentionShape& shape;
  int64_t num_runs;
  float* memory;
};

// Returns the product of one head's channels, summed in fixed lanes: lane_sum's are too many for
// so short a sum.
template <typename E>
float dot(const float* query, const E* key, int64_t D) {
  constexpr int64_t kDotLanes = 8;
  float lanes[kDotLanes] = {};
  int64_t d = 0;
  for (; d + kDotLanes <= D; d += kDotLanes) {
    for (int64_t lane = 0; lane < kDotLanes; ++lane)
      lanes[lane] += query[d + lane] * load(key[d + lane]);
  }
  for (int64_t lane = 0; d + lane < D; ++lane) lanes[lane] += query[d + lane] * load(key[d + lane]);
  return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) +
         ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
}

// Sets out (D) to the sum of weights[i] values[i], in order; the values lie `stride` apart.
template <typename E>
void sum_values(const float* weights, const E* values, int64_t stride, int64_t count, int64_t D,
                float* out) {
  std::fill(out, out + D, 0.0F);
  int64_t i = 0;
  for (; i + 4 <= count; i += 4) {  // at a time, so that the sum is loaded and stored less often
    const E *a = values + i * stride, *b = a + stride, *c = b + stride, *e = c + stride;
    const float* w = weights + i;
#pragma GCC ivdep
    for (int64_t d = 0; d < D; ++d) {
      out[d] = (((out[d] + w[0] * load(a[d])) + w[1] * load(b[d])) + w[2] * load(c[d])) +
               w[3] * load(e[d]);
    }
  }
  for (; i < count; ++i) {
    const E* value = values + i * stride;
#pragma GCC ivdep
    for (int64_t d = 0; d < D; ++d) out[d] += weights[i] * load(value[d]);
  }
}

// Attends to `count` keys for one query head.
template <typename E>
void attend_run(const AttentionShape& shape, const float* query, const E* keys, int64_t count,
                float* scores, const RunResult& result) {
  const int64_t stride = kv_stride(shape), D = shape.D;
  const float scale = attention_scale(shape);
  for (int64_t i = 0; i < count; ++i) {
    scores[i] = scale * dot(query, keys + i * stride, D);
  }
  *result.largest = lane_max(count, [&](int64_t i) { return scores[i]; });
  *result.sum = lane_sum<float>(count, [&](int64_t i) {
    const float exponential = exp_f32(scores[i] - *result.largest);
    scores[i] = through<E>(exponential);
    return exponential;
  });
  sum_values(scores, keys + D, stride, count, D, result.out);
}

template <typename E>
void join_runs(const QueryScratch& scratch, int64_t head, E* out) {
  const int64_t D = scratch.shape.D;
  float largest = *scratch.result(head, 0).largest;
  for (int64_t run = 1; run < scratch.num_runs; ++run)
    largest = std::max(largest, *scratch.result(head, run).largest);
  float sum = 0;
  float* joined = scratch.result(head, 0).out;
  for (int64_t run = 0; run < scratch.num_runs; ++run) {
    const RunResult part = scratch.result(head, run);
    const float factor = exp_f32(*part.largest - largest);
    sum += factor * *part.sum;
    for (int64_t d = 0; d < D; ++d)
      joined[d] = run == 0 ? factor * part.out[d] : joined[d] + factor * part.out[d];
  }
  const float factor = 1.0F / sum;
  for (int64_t d = 0; d < D; ++d) out[d] = rounded<E>(joined[d] * factor);
}

template <typename E>
void attend_one(ThreadPool& pool, const AttentionCached<E>& work) {
  const AttentionShape& shape = work.shape;
  const int64_t keys = work.shape.first_position + 1, num_runs = ceil_runs(keys);
  const QueryScratch scratch{shape, num_runs, static_cast<float*>(work.workspace)};
  pool.run(shape.B * shape.G * num_runs, [&](int64_t task, int worker) {
    const int64_t group = task / num_runs, run = task % num_runs;  // group in (B, G)
    const int64_t begin = run * kRun, count = std::min(kRun, keys - begin);
    const E* cached = kv_at(work, group / shape.G, begin, group % shape.G);
    const FloatRows queries = as_floats(work.qkv + group * (shape.R + 2) * shape.D, shape.D,
                                        shape.R, shape.D, scratch.queries(worker));
    for (int64_t r = 0; r < shape.R; ++r) {
      attend_run(shape, queries.data + r * queries.stride, cached, count, scratch.scores(worker),
                 scratch.result(group * shape.R + r, run));
    }
  });
  pool.run(shape.B * shape.H(),
           [&](int64_t head, int) { join_runs(scratch, head, work.out + head * shape.D); });
}

// A worker's scratch of a block of queries, in floats: their scores, and where E is narrow the
// queries, the keys and values that they see, and their output.
template <typename E>
struct BlockScratch {
  BlockScratch(const AttentionShape& shape, int64_t keys, float* memory)
      : scores(memory),
        q(scores + kQueryRows * score_stride(keys)),
        k(q + kQueryRows * shape.D),
        v(k + keys * shape.D),
        out(v + keys * shape.D) {}
  static int64_t score_stride(int64_t keys) { return (keys + 15) / 16 * 16 + 16; }
  static int64_t floats(const AttentionShape& shape, int64_t keys) {
    const int64_t copies = 2 * kQueryRows * shape.D + 2 * keys * shape.D;
    return kQueryRows * score_stride(keys) + (kIsNarrow<E> ? copies : 0);
  }

  float *scores, *q, *k, *v, *out;
};

template <typename E>
void attend_block(const AttentionCached<E>& work, const Head& head, const QueryBlock& block,
                  const BlockScratch<E>& scratch) {
  const AttentionShape& shape = work.shape;
  const int64_t D = shape.D, keys = work.shape.first_position + block.keys,
                stride = qkv_stride(shape);
  const int64_t ld = BlockScratch<E>::score_stride(keys);
  const E* cached = kv_at(work, head.b, 0, head.g);
  const FloatRows q = as_floats(work.qkv + head.query_offset(shape) + block.first * stride, stride,
                                block.rows, D, scratch.q);
  const FloatRows k = as_floats(cached, kv_stride(shape), keys, D, scratch.k);
  const FloatRows v = as_floats(cached + D, kv_stride(shape), keys, D, scratch.v);
  E* out = work.out + head.out_offset(shape) + block.first * out_stride(shape);
  float* sum = scratch.out;
  int64_t sum_stride = D;
  if constexpr (!kIsNarrow<E>) sum = out, sum_stride = out_stride(shape);

  sgemm(Transpose::kNo, Transpose::kYes, block.rows, keys, D, attention_scale(shape), q.data,
        q.stride, k.data, k.stride, 0.0F, scratch.scores, ld);
  float sums[kQueryRows];
  for (int64_t i = 0; i < block.rows; ++i) {
    float* row = scratch.scores + i * ld;
    const int64_t valid = work.shape.first_position + block.first + i + 1;
    const float largest = lane_max(valid, [&](int64_t j) { return row[j]; });
    sums[i] = lane_sum<float>(valid, [&](int64_t j) {
      const float exponential = exp_f32(row[j] - largest);
      row[j] = through<E>(exponential);
      return exponential;
    });
    std::fill(row + valid, row + keys, 0.0F);
  }
  sgemm(Transpose::kNo, Transpose::kNo, block.rows, D, keys, 1.0F, scratch.scores, ld, v.data,
        v.stride, 0.0F, sum, sum_stride);
  for (int64_t i = 0; i < block.rows; ++i) {
    const float factor = 1.0F / sums[i];
    const float* from = sum + i * sum_stride;
    E* row = out + i * out_stride(shape);
#pragma GCC ivdep
    for (int64_t d = 0; d < D; ++d) row[d] = rounded<E>(from[d] * factor);
  }
}

template <typename E>
void attend_blocks(ThreadPool& pool, const AttentionCached<E>& work) {
  const AttentionShape& shape = work.shape;
  const int64_t num_heads = shape.B * shape.H(), num_blocks = num_query_blocks(shape);
  const int64_t keys = work.shape.first_position + shape.T;
  pool.run(num_heads * num_blocks, [&](int64_t task, int worker) {
    const int64_t index = task % num_heads;
    const Head head{index / shape.H(), index % shape.H() / shape.R, index % shape.R};
    float* memory =
        static_cast<float*>(work.workspace) + worker * BlockScratch<E>::floats(shape, keys);
    attend_block(work, head, query_block(shape, num_blocks - 1 - task / num_heads),
                 BlockScratch<E>(shape, keys, memory));
  });
}

}  // namespace

template <typename E>
int64_t attention_cached_workspace_bytes(const AttentionShape& shape, int64_t positions,
                                         int num_threads) {
  const int64_t floats = shape.T == 1 ? QueryScratch::floats(shape, positions, num_threads)
                                      : num_threads * BlockScratch<E>::floats(shape, positions);
  return floats * static_cast<int64_t>(sizeof(float));
}

template <typename E>
void run(ThreadPool& pool, const AttentionCached<E>& work) {
  append(work);
  if (work.shape.T == 1) {
    attend_one(pool, work);
  } else {
    attend_blocks(pool, work);
  }
}

template void run(ThreadPool& pool, const AttentionCached<float>& work);
template void run(ThreadPool& pool, const AttentionCached<Bf16>& work);
template int64_t attention_cached_workspace_bytes<float>(const AttentionShape&, int64_t, int);
template int64_t attention_cached_workspace_bytes<Bf16>(const AttentionShape&, int64_t, int);

}  // namespace leasehold::cpu
