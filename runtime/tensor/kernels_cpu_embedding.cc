#include <algorithm>
#include <cstring>

#include "runtime/base/check.h"
#include "runtime/tensor/kernels_cpu.h"
#include "runtime/tensor/kernels_cpu_dropout.h"
#include "runtime/tensor/kernels_cpu_elements.h"

namespace leasehold::cpu {

namespace {

constexpr int64_t kStrip = kDropoutBlock;  // channels that one task sums at a time
constexpr int64_t kZeroTaskElements = 1 << 18;
constexpr int64_t kSegmentTokens = 32;

int64_t ceil_divide(int64_t value, int64_t divisor) { return (value + divisor - 1) / divisor; }

void check_tokens(const int32_t* tokens, int64_t count, int64_t vocab) {
  for (int64_t i = 0; i < count; ++i) {
    LEASEHOLD_CHECK(tokens[i] >= 0 && tokens[i] < vocab,
                    "embedding: token {} at {}, the vocabulary has {}", tokens[i], i, vocab);
  }
}

// The row of a token in the table here, or outside [0, V) if another shard has it.
template <typename Work>
int64_t row_of_token(const Work& work, int64_t i) {
  return work.tokens[i] - work.shard.index * work.V;
}
template <typename Work>
bool is_here(const Work& work, int64_t i) {
  const int64_t row = row_of_token(work, i);
  return row >= 0 && row < work.V;
}

// sum[0, width) = token + position, either of which may be absent.
template <typename E>
void look_up(const E* token, const E* position, int64_t width, float* sum) {
  if (token == nullptr && position == nullptr) {
    std::fill_n(sum, width, 0.0F);
  } else if (token == nullptr || position == nullptr) {
    const E* only = token == nullptr ? position : token;
    for (int64_t i = 0; i < width; ++i) sum[i] = load(only[i]);
  } else {
    for (int64_t i = 0; i < width; ++i) sum[i] = load(token[i]) + load(position[i]);
  }
}

template <typename E>
void embed_row(const EmbeddingForward<E>& work, int64_t row) {
  const E* token =
      is_here(work, row) ? work.token_weight + row_of_token(work, row) * work.C : nullptr;
  const E* position =
      work.position_weight == nullptr ? nullptr : work.position_weight + row % work.T * work.C;
  E* out = work.out + row * work.C;
  for (int64_t begin = 0; begin < work.C; begin += kStrip) {
    const int64_t width = std::min(kStrip, work.C - begin);
    float sum[kStrip];
    look_up(token == nullptr ? nullptr : token + begin,
            position == nullptr ? nullptr : position + begin, width, sum);
    if (work.dropout.p > 0) {
      float factors[kStrip];
      dropout_factors(work.dropout, row * work.C + begin, width, factors);
      for (int64_t i = 0; i < width; ++i) sum[i] *= factors[i];
    }
    for (int64_t i = 0; i < width; ++i) out[begin + i] = rounded<E>(sum[i]);
  }
}

// sum[0, width) += dropout(dout) of one row's channels [begin, begin + width), width <= kStrip.
template <typename E>
void add_row(const EmbeddingBackward<E>& work, int64_t row, int64_t begin, int64_t width,
             float* sum) {
  const E* dout = work.dout + row * work.C + begin;
  if (work.dropout.p == 0) {
    for (int64_t i = 0; i < width; ++i) sum[i] += load(dout[i]);
    return;
  }
  float factors[kStrip];
  dropout_factors(work.dropout, row * work.C + begin, width, factors);
  for (int64_t i = 0; i < width; ++i) sum[i] += load(dout[i]) * factors[i];
}

void put(Write write, const float* sum, int64_t width, float* out) {
  if (write == Write::kAccumulate) {
    for (int64_t i = 0; i < width; ++i) out[i] += sum[i];
  } else {
    std::copy_n(sum, width, out);
  }
}

void zero(ThreadPool& pool, float* out, int64_t count) {
  pool.run(ceil_divide(count, kZeroTaskElements), [&](int64_t task, int) {
    const int64_t begin = task * kZeroTaskElements;
    std::memset(out + begin, 0,
                static_cast<size_t>(std::min(kZeroTaskElements, count - begin)) * sizeof(float));
  });
}

// keys (N): token's row of the table << 32 | row of dout, ascending, so that rows of one token lie
// together in ascending order. Gives back how many there are: tokens of other shards have none.
template <typename E>
int64_t sort_rows_by_token(const EmbeddingBackward<E>& work, int64_t N, uint64_t* keys) {
  int64_t count = 0;
  for (int64_t row = 0; row < N; ++row) {
    if (!is_here(work, row)) continue;
    keys[count++] =
        static_cast<uint64_t>(row_of_token(work, row)) << 32 | static_cast<uint64_t>(row);
  }
  std::sort(keys, keys + count);
  return count;
}

// The first N keys.
template <typename E>
void sum_tokens(ThreadPool& pool, const EmbeddingBackward<E>& work, int64_t N,
                const uint64_t* keys) {
  const int64_t num_strips = ceil_divide(work.C, kStrip);
  const auto token_of = [&](int64_t i) { return static_cast<int64_t>(keys[i] >> 32); };
  pool.run(ceil_divide(N, kSegmentTokens) * num_strips, [&](int64_t task, int) {
    const int64_t begin = task % num_strips * kStrip;
    const int64_t width = std::min(kStrip, work.C - begin);
    const int64_t first = task / num_strips * kSegmentTokens;
    // Every token whose rows begin here, to its last row.
    int64_t i = first;
    while (i > 0 && i < N && token_of(i) == token_of(i - 1)) ++i;
    while (i < std::min(first + kSegmentTokens, N)) {
      const int64_t token = token_of(i);
      float sum[kStrip] = {};
      for (; i < N && token_of(i) == token; ++i) {
        add_row(work, static_cast<int64_t>(keys[i] & 0xFFFFFFFF), begin, width, sum);
      }
      put(work.write, sum, width, work.dtoken_weight + token * work.C + begin);
    }
  });
}

template <typename E>
void sum_positions(ThreadPool& pool, const EmbeddingBackward<E>& work) {
  pool.run(work.T, [&](int64_t t, int) {
    for (int64_t begin = 0; begin < work.C; begin += kStrip) {
      const int64_t width = std::min(kStrip, work.C - begin);
      float sum[kStrip] = {};
      for (int64_t b = 0; b < work.B; ++b) add_row(work, b * work.T + t, begin, width, sum);
      put(work.write, sum, width, work.dposition_weight + t * work.C + begin);
    }
  });
}

}  // namespace

template <typename E>
void run(ThreadPool& pool, const EmbeddingForward<E>& work) {
  const int64_t N = work.B * work.T;
  check_tokens(work.tokens, N, work.shard.count * work.V);
  constexpr int64_t kTaskRows = 16;
  pool.run(ceil_divide(N, kTaskRows), [&](int64_t task, int) {
    for (int64_t row = task * kTaskRows; row < std::min((task + 1) * kTaskRows, N); ++row)
      embed_row(work, row);
  });
}

int64_t embedding_backward_workspace_bytes(int64_t N) {
  return N * static_cast<int64_t>(sizeof(uint64_t));
}

template <typename E>
void run(ThreadPool& pool, const EmbeddingBackward<E>& work) {
  const int64_t N = work.B * work.T;
  check_tokens(work.tokens, N, work.shard.count * work.V);
  auto* keys = static_cast<uint64_t*>(work.workspace);
  const int64_t num_keys = sort_rows_by_token(work, N, keys);
  if (work.write == Write::kOverwrite) zero(pool, work.dtoken_weight, work.V * work.C);
  sum_tokens(pool, work, num_keys, keys);
  if (work.dposition_weight == nullptr) return;
  if (work.write == Write::kOverwrite) {
    zero(pool, work.dposition_weight + work.T * work.C, (work.num_positions - work.T) * work.C);
  }
  sum_positions(pool, work);
}

template void run(ThreadPool& pool, const EmbeddingForward<float>& work);
template void run(ThreadPool& pool, const EmbeddingForward<Bf16>& work);
template void run(ThreadPool& pool, const EmbeddingBackward<float>& work);
template void run(ThreadPool& pool, const EmbeddingBackward<Bf16>& work);

}  // namespace leasehold::cpu
