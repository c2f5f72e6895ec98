// Tokens are dealt out to buckets by their table row, in ascending order within a bucket. Then one
// warp per token and strip of columns looks whether its token is the first of its table row in the
// bucket; if so it adds up all of that row's, in order. Buckets are short (some 64 tokens) unless
// the text repeats one token, and then nearly all warps find their row named before at once.
#include "runtime/tensor/cuda/elementwise.h"
#include "runtime/tensor/cuda/embedding.h"
#include "runtime/tensor/cuda/rows.h"
#include "runtime/tensor/cuda/tokens.h"

namespace leasehold::cuda {

namespace {

constexpr int kBucketThreads = 1024;
constexpr int kBucketWarps = kBucketThreads / kWarp;
constexpr int kSumWarps = 8;
constexpr int kPositionThreads = 256;
// Rows of dout that are read before they are added.
template <int kWidth>
constexpr int kAhead = kWidth == 8 ? 4 : 8;

// The workspace: where each bucket begins, and where the last one ends; then the entries.
struct Buckets {
  int32_t* begins;      // (count + 1)
  TokenEntry* entries;  // (N)
  int64_t count;
};
Buckets buckets_of(void* workspace, int64_t N) {
  auto* bytes = static_cast<char*>(workspace);
  return {reinterpret_cast<int32_t*>(bytes),
          reinterpret_cast<TokenEntry*>(bytes + token_begins_bytes(N)), num_token_buckets(N)};
}

// One block a bucket; its warps share all tokens in consecutive parts. They count twice: tokens of
// earlier buckets, behind which the bucket's entries belong, and tokens of this one, which tell
// each warp where its own entries begin. Then they write them in order. A table row belongs to
// bucket row % count.
__global__ void __launch_bounds__(kBucketThreads)
    fill_buckets_kernel(Tokens tokens, Buckets buckets) {
  LEASEHOLD_SHARED(before_counts, int32_t[kWarp]);
  LEASEHOLD_SHARED(own_counts, int32_t[kBucketWarps]);
  const int64_t N = tokens.B * tokens.T;
  const auto bucket = static_cast<int64_t>(blockIdx.x);
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int64_t part = (N + kBucketThreads - 1) / kBucketThreads * kWarp;
  const int64_t begin = warp * part;
  const int64_t end = begin + part < N ? begin + part : N;
  int32_t before = 0, own = 0;
#pragma unroll 4
  for (int64_t i = begin + lane; i < end; i += kWarp) {
    const int64_t row = table_row(tokens, i, bucket == 0);
    const int64_t home = row & (buckets.count - 1);
    if (row != kElsewhere && home < bucket) ++before;
    if (row != kElsewhere && home == bucket) ++own;
  }
  own = warp_reduce<Sum>(own);
  if (lane == 0) own_counts[warp] = own;
  const int32_t first = block_reduce<Sum>(before, before_counts);  // and a barrier
  int32_t place = first, last = first;
  for (int other = 0; other < kBucketWarps; ++other) {
    if (other < warp) place += own_counts[other];
    last += own_counts[other];
  }
  // All lanes stay for the votes, also in the last turn.
  for (int64_t turn = begin; turn < end; turn += kWarp) {
    const int64_t i = turn + lane;
    const int64_t row = i < end ? table_row(tokens, i, false) : kElsewhere;
    const bool is_own = row != kElsewhere && (row & (buckets.count - 1)) == bucket;
    const unsigned found = __ballot_sync(kAllLanes, is_own);
    if (is_own) {
      buckets.entries[place + __popc(found & ((1U << lane) - 1))] = {static_cast<int32_t>(row),
                                                                     static_cast<int32_t>(i)};
    }
    place += __popc(found);
  }
  if (threadIdx.x == 0) {
    buckets.begins[bucket] = first;
    if (bucket == buckets.count - 1) buckets.begins[buckets.count] = last;
  }
}

// Adds rows of dout to sums, kTokensAhead read at once, in the order of their tokens.
template <typename T, int kWidth, bool kVector>
struct Adder {
  static constexpr int kTokensAhead = kAhead<kWidth>;
  const EmbeddingBackward<T>& work;
  int64_t i;  // the column
  float sums[kWidth];

  __device__ void add(const int32_t (&tokens)[kTokensAhead], int count) {
    float values[kTokensAhead][kWidth];
#pragma unroll
    for (int k = 0; k < kTokensAhead; ++k) {
      if (k < count) load<kVector>(work.dout + tokens[k] * work.C + i, kWidth, values[k]);
    }
#pragma unroll
    for (int k = 0; k < kTokensAhead; ++k) {
      if (k >= count) break;
      float factors[kWidth];
      work.dropout.factors(tokens[k] * work.C + i, factors);
#pragma unroll
      for (int j = 0; j < kWidth; ++j) sums[j] += values[k][j] * factors[j];
    }
  }
  __device__ void put(float* to) const {
    float totals[kWidth] = {};
    if (work.accumulate) load<kVector>(to, kWidth, totals);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) totals[j] += sums[j];
    store_global<kVector>(to, kWidth, totals);
  }
};

// Warp x of the grid: an entry; y: a strip of 32 packs of columns.
template <typename T, int kWidth, bool kVector>
__global__ void __launch_bounds__(kSumWarps* kWarp)
    sum_tokens_kernel(EmbeddingBackward<T> work, Buckets buckets) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int64_t entry = int64_t{blockIdx.x} * kSumWarps + threadIdx.x / kWarp;
  if (entry >= buckets.begins[buckets.count]) return;
  const int32_t row = buckets.entries[entry].row;
  const int64_t bucket = row & (buckets.count - 1);
  const int64_t begin = buckets.begins[bucket];
  const int64_t end = buckets.begins[bucket + 1];
  const auto has_row = [&](int64_t other, int64_t limit) {
    return other < limit && buckets.entries[other].row == row;
  };
  for (int64_t other = begin; other < entry; other += kWarp) {
    if (__any_sync(kAllLanes, has_row(other + lane, entry))) return;
  }
  const int64_t i = (int64_t{blockIdx.y} * kWarp + lane) * kWidth;
  const bool has_columns = i < work.C;
  Adder<T, kWidth, kVector> adder{work, i, {}};
  constexpr int kTokensAhead = kAhead<kWidth>;
  int32_t tokens[kTokensAhead];
  int count = 0;
  for (int64_t other = entry; other < end; other += kWarp) {
    const int32_t token = other + lane < end ? buckets.entries[other + lane].token : 0;
    unsigned found = __ballot_sync(kAllLanes, has_row(other + lane, end));
    while (found != 0) {
      const int32_t next = __shfl_sync(kAllLanes, token, __ffs(static_cast<int>(found)) - 1);
      found &= found - 1;
#pragma unroll
      for (int k = 0; k < kTokensAhead; ++k) {
        if (k == count) tokens[k] = next;
      }
      if (++count < kTokensAhead) continue;
      if (has_columns) adder.add(tokens, count);
      count = 0;
    }
  }
  if (!has_columns) return;
  adder.add(tokens, count);
  adder.put(work.dtoken_weight + row * work.C + i);
}

// Block (position, strip of packs).
template <typename T, int kWidth, bool kVector>
__global__ void __launch_bounds__(kPositionThreads)
    sum_positions_kernel(EmbeddingBackward<T> work) {
  const int64_t i = (int64_t{blockIdx.y} * blockDim.x + threadIdx.x) * kWidth;
  const int64_t position = blockIdx.x;
  if (i >= work.C) return;
  Adder<T, kWidth, kVector> adder{work, i, {}};
  constexpr int kTokensAhead = kAhead<kWidth>;
  for (int64_t b = 0; b < work.tokens.B; b += kTokensAhead) {
    int32_t tokens[kTokensAhead];
#pragma unroll
    for (int k = 0; k < kTokensAhead; ++k)
      tokens[k] = static_cast<int32_t>((b + k) * work.tokens.T + position);
    const int64_t left = work.tokens.B - b;
    adder.add(tokens, left < kTokensAhead ? static_cast<int>(left) : kTokensAhead);
  }
  adder.put(work.dposition_weight + position * work.C + i);
}

template <typename T, int kWidth, bool kVector>
void launch_backward(const EmbeddingBackward<T>& work, const Buckets& buckets,
                     cudaStream_t stream) {
  const int64_t N = work.tokens.B * work.tokens.T;
  const int64_t num_packs = work.C / kWidth;
  launch(sum_tokens_kernel<T, kWidth, kVector>,
         grid_of(ceil_divide(N, kSumWarps), ceil_divide(num_packs, kWarp)), dim3(kSumWarps * kWarp),
         0, stream, work, buckets);
  if (work.dposition_weight == nullptr) return;
  const unsigned threads = row_threads(num_packs, kPositionThreads);
  launch(sum_positions_kernel<T, kWidth, kVector>,
         grid_of(work.tokens.T, ceil_divide(num_packs, threads)), dim3(threads), 0, stream, work);
}

}  // namespace

template <typename T>
void embedding_backward(const EmbeddingBackward<T>& work, cudaStream_t stream) {
  const int64_t N = work.tokens.B * work.tokens.T, C = work.C;
  const int64_t num_summed = N == 0 ? 0 : work.tokens.T;  // positions
  if (!work.accumulate) {
    fill(work.dtoken_weight, 0.0F, work.tokens.V * C, stream);
    if (work.dposition_weight != nullptr) {
      fill(work.dposition_weight + num_summed * C, 0.0F, (work.num_positions - num_summed) * C,
           stream);
    }
  }
  if (N == 0 || C == 0) return;
  const Buckets buckets = buckets_of(work.workspace, N);
  launch(fill_buckets_kernel, grid_of(buckets.count), dim3(kBucketThreads), 0, stream, work.tokens,
         buckets);
  with_row_access<T>(
      C, {work.dout, work.dtoken_weight, work.dposition_weight}, [&](auto width, auto vector) {
        launch_backward<T, decltype(width)::value, decltype(vector)::value>(work, buckets, stream);
      });
}

template void embedding_backward(const EmbeddingBackward<float>&, cudaStream_t);
template void embedding_backward(const EmbeddingBackward<__nv_bfloat16>&, cudaStream_t);

}  // namespace leasehold::cuda
