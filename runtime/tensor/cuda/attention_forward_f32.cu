#include "runtime/tensor/cuda/attention_scalar.h"

namespace leasehold::cuda {

namespace {

// Blocks of 16 kRows queries and tiles of 16 kColumns keys.
template <int kChannels_, int kRows_, int kColumns_>
struct ForwardPlan {
  static constexpr int kChannels = kChannels_;
  static constexpr int kRows = kRows_;
  static constexpr int kColumns = kColumns_;
  static constexpr int kQueries = kSide * kRows;
  static constexpr int kTileKeys = kSide * kColumns;
  using QueryTile = Tile<float, kQueries, kChannels>;
  using KeyTile = Tile<float, kTileKeys, kChannels>;
  static constexpr int kSharedBytes =
      QueryTile::kBytes + 2 * KeyTile::kBytes + kQueries * kFactorsLd<kColumns> * 4;
  static_assert(kSharedBytes <= kMostSharedBytes);

  using Scores = ScalarScores<kRows, kColumns>;
};

// What a thread keeps of its rows while the block walks over the keys.
template <typename Plan>
struct RunningRows {
  ScalarSums<Plan::kRows, Plan::kChannels> out;
  float largest[Plan::kRows];  // exponent so far, base 2
  float sum[Plan::kRows];      // of this thread's columns only
};

// Scores become exponentials relative to the rows' running maxima; older sums are rescaled. Query 0
// is `ahead` of key 0.
template <typename Plan>
__device__ void exponentiate(float scale_log2, int ahead, typename Plan::Scores& scores,
                             RunningRows<Plan>& rows) {
#pragma unroll
  for (int i = 0; i < Plan::kRows; ++i) {
    float largest = -INFINITY;
#pragma unroll
    for (int j = 0; j < Plan::kColumns; ++j) {
      float& score = scores.at[i][j];
      score = column_at(j) > row_at(i) + ahead ? -INFINITY : score * scale_log2;
      largest = fmaxf(largest, score);
    }
    // Never -inf: key 0 is in the first tile, and every query sees it.
    const float now = fmaxf(rows.largest[i], join_scalar_row<Maximum>(largest));
    const float rescale = exp2f(rows.largest[i] - now);
    rows.largest[i] = now;
    float sum = 0;
#pragma unroll
    for (int j = 0; j < Plan::kColumns; ++j) {
      scores.at[i][j] = exp2f(scores.at[i][j] - now);
      sum += scores.at[i][j];
    }
    rows.sum[i] = rows.sum[i] * rescale + sum;
#pragma unroll
    for (auto& group : rows.out.at[i]) {
#pragma unroll
      for (float& value : group) value *= rescale;
    }
  }
}

// Probabilities times dropout's factors. Draws first, into bits, so that a loop does.
template <typename Plan>
__device__ void drop(const DropoutMask& dropout, int64_t first, int64_t T,
                     typename Plan::Scores& scores) {
  constexpr int kColumns = Plan::kColumns;
  static_assert(Plan::kRows * kColumns <= 32);
  uint32_t kept = 0;
#pragma unroll 1
  for (int k = 0; k < Plan::kRows * kColumns; ++k) {
    const int64_t element = first + row_at(k / kColumns) * T + column_at(k % kColumns);
    kept |= static_cast<uint32_t>(dropout.factor(element) != 0) << k;
  }
#pragma unroll
  for (int i = 0; i < Plan::kRows; ++i) {
#pragma unroll
    for (int j = 0; j < kColumns; ++j)
      scores.at[i][j] *= kept >> (i * kColumns + j) & 1 ? dropout.kept : 0.0F;
  }
}

// Blocks: heads, and within a head its blocks of queries, those with the most keys first.
template <typename Plan>
__global__ void __launch_bounds__(kScalarThreads, 2)
    attention_forward_f32_kernel(AttentionForward<float> work, float scale_log2, bool aligned) {
  LEASEHOLD_DYNAMIC_SHARED(float, queries);
  float* keys = queries + Plan::QueryTile::kElements;
  float* values = keys + Plan::KeyTile::kElements;
  float* factors = values + Plan::KeyTile::kElements;
  const AttentionSizes& sizes = work.sizes;
  const int64_t num_blocks = ceil_divide(sizes.T, Plan::kQueries);
  const HeadPlace head = head_at(sizes, blockIdx.x / num_blocks);
  const int64_t first = (num_blocks - 1 - blockIdx.x % num_blocks) * Plan::kQueries;

  RunningRows<Plan> rows;
  rows.out.clear();
#pragma unroll
  for (int i = 0; i < Plan::kRows; ++i) {
    rows.largest[i] = -INFINITY;
    rows.sum[i] = 0;
  }
  load_tile<Plan::kQueries, Plan::kChannels, kScalarThreads>(
      vectors_in(sizes, work.qkv, head.query(sizes), first, aligned), queries);
  const int64_t end = first + Plan::kQueries < sizes.T ? first + Plan::kQueries : sizes.T;
  for (int64_t key = 0; key < end; key += Plan::kTileKeys) {
    load_tile<Plan::kTileKeys, Plan::kChannels, kScalarThreads>(
        vectors_in(sizes, work.qkv, head.key(sizes), key, aligned), keys);
    load_tile<Plan::kTileKeys, Plan::kChannels, kScalarThreads>(
        vectors_in(sizes, work.qkv, head.value(sizes), key, aligned), values);
    __syncthreads();
    typename Plan::Scores scores;
    multiply_rows<Plan::kChannels>(queries, keys, scores);
    exponentiate<Plan>(scale_log2, distance(key, first, Plan::kTileKeys), scores, rows);
    if (work.dropout.p != 0) {
      drop<Plan>(work.dropout, head.probability(sizes) + first * sizes.T + key, sizes.T, scores);
    }
    share(scores, factors);
    __syncwarp();
    multiply_add_factors<Plan::kColumns>(factors, values, rows.out);
    __syncthreads();
  }

  float row_factors[Plan::kRows];
#pragma unroll
  for (int i = 0; i < Plan::kRows; ++i) {
    const float sum = join_scalar_row<Sum>(rows.sum[i]);
    row_factors[i] = 1.0F / sum;
    if (column_at(0) == 0 && first + row_at(i) < sizes.T) {
      constexpr float kLn2 = 0.693147180559945309F;
      work.log_sum_exp[head.statistic(sizes) + first + row_at(i)] =
          (rows.largest[i] + log2f(sum)) * kLn2;
    }
  }
  store_sums(rows.out, row_factors, out_vectors_in(sizes, work.out, head, first, aligned));
}

template <typename Plan>
void launch_plan(const AttentionForward<float>& work, cudaStream_t stream) {
  const AttentionSizes& sizes = work.sizes;
  allow_shared_memory(attention_forward_f32_kernel<Plan>, Plan::kSharedBytes);
  const bool aligned = sizes.D % kPack<float> == 0 && are_aligned({work.qkv, work.out});
  const int64_t blocks = sizes.B * sizes.G * sizes.R * ceil_divide(sizes.T, Plan::kQueries);
  launch(attention_forward_f32_kernel<Plan>, grid_of(blocks), dim3(kScalarThreads),
         Plan::kSharedBytes, stream, work, attention_scale_log2(sizes), aligned);
}

}  // namespace

void attention_forward(const AttentionForward<float>& work, cudaStream_t stream) {
  with_padded_channels<32, 64, 128, 256>(work.sizes.D, [&](auto channels) {
    constexpr int kChannels = channels();
    constexpr int kRows = kChannels <= 128 ? 4 : 2;
    constexpr int kColumns = kChannels <= 64 ? 4 : kChannels == 128 ? 2 : 1;
    launch_plan<ForwardPlan<kChannels, kRows, kColumns>>(work, stream);
  });
}

}  // namespace leasehold::cuda
