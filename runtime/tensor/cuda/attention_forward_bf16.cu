// Each warp has 16 or 32 queries of the block's and all keys of a tile: rows of scores stay within
// a warp, scores stay in registers, and warps meet only once a tile, when it has been copied to
// shared memory and the copy of the next one begins.
#include "runtime/tensor/cuda/attention_matrices.h"

namespace leasehold::cuda {

namespace {

using bf16 = __nv_bfloat16;

constexpr int kWarps = 4;
constexpr int kThreads = kWarps * kWarp;

// kStrips of 16 queries to a warp and tiles of kTileKeys keys: a warp's sums take kStrips
// (kChannels
// + kTileKeys) / 2 registers. kBlocks to a multiprocessor.
template <int kChannels_, int kStrips_, int kBlocks_>
struct ForwardPlan {
  static constexpr int kChannels = kChannels_;
  static constexpr int kStrips = kStrips_;
  static constexpr int kTileKeys = 32;
  static constexpr int kBlocks = kBlocks_;
  static constexpr int kWarpQueries = kStrip * kStrips;
  static constexpr int kQueries = kWarps * kWarpQueries;
  using QueryTile = Tile<bf16, kQueries, kChannels>;
  using KeyTile = Tile<bf16, kTileKeys, kChannels>;
  static constexpr int kLd = KeyTile::kLd;
  static constexpr int kSharedBytes = QueryTile::kBytes + 4 * KeyTile::kBytes;
  static_assert(kSharedBytes <= kMostSharedBytes);

  using Scores = Sums<kStrips, kTileKeys / kFragment>;
};

// What a lane keeps of its warp's rows while the warp walks over the keys: of row group and of row
// group + 8 of each strip.
template <typename Plan>
struct RunningRows {
  Sums<Plan::kStrips, Plan::kChannels / kFragment> out;
  float largest[Plan::kStrips][2];  // exponent so far, base 2
  float sum[Plan::kStrips][2];      // of this lane's columns only
};

// Scores, of which row r belongs to query first_query + r and column c to key c, become
// exponentials relative to the rows' running maxima; older sums are rescaled.
template <typename Plan>
__device__ void exponentiate(float scale_log2, int first_query, typename Plan::Scores& scores,
                             RunningRows<Plan>& rows) {
  constexpr int kColumns = Plan::kTileKeys / kFragment;
  const bool crosses_diagonal = first_query < Plan::kTileKeys - 1;
#pragma unroll
  for (int strip = 0; strip < Plan::kStrips; ++strip) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float largest = -INFINITY;
#pragma unroll
      for (int column = 0; column < kColumns; ++column) {
#pragma unroll
        for (int i = 2 * half; i < 2 * half + 2; ++i) {
          float& score = scores.at[strip][column][i];
          if (crosses_diagonal &&
              column * kFragment + column_of(i) > first_query + strip * kStrip + row_of(i)) {
            score = -INFINITY;
          }
          largest = fmaxf(largest, score);
        }
      }
      // Never -inf: key 0 is in the first tile, and every query sees it.
      const float before = rows.largest[strip][half];
      const float now = fmaxf(before, join_row<Maximum>(largest) * scale_log2);
      const float rescale = exp2_approximate(before - now);
      float sum = 0;
#pragma unroll
      for (int column = 0; column < kColumns; ++column) {
#pragma unroll
        for (int i = 2 * half; i < 2 * half + 2; ++i) {
          float& score = scores.at[strip][column][i];
          score = exp2_approximate(score * scale_log2 - now);
          sum += score;
        }
      }
      rows.largest[strip][half] = now;
      rows.sum[strip][half] = rows.sum[strip][half] * rescale + sum;
#pragma unroll
      for (int column = 0; column < Plan::kChannels / kFragment; ++column) {
        rows.out.at[strip][column][2 * half] *= rescale;
        rows.out.at[strip][column][2 * half + 1] *= rescale;
      }
    }
  }
}

template <int kStrips, int kColumns>
__device__ void drop(const DropoutMask& dropout, int64_t first, int64_t T,
                     Sums<kStrips, kColumns>& probabilities) {
  Kept<kStrips, kColumns> kept;
  kept.draw_rows_of_queries(dropout, first, T);
#pragma unroll
  for (int strip = 0; strip < kStrips; ++strip) {
#pragma unroll
    for (int column = 0; column < kColumns; ++column) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        float& value = probabilities.at[strip][column][i];
        value = kept.keeps(strip, column, i) ? value * dropout.kept : 0.0F;
      }
    }
  }
}

// The warp's queries against a tile.
template <typename Plan>
__device__ void add_keys(const AttentionForward<bf16>& work, const HeadPlace& head,
                         float scale_log2, int first_query, int first_key, const bf16* queries,
                         const bf16* keys, const bf16* values, RunningRows<Plan>& rows) {
  // Not for queries all before these keys, nor for those that do not exist.
  if (first_key >= first_query + Plan::kWarpQueries || first_query >= work.sizes.T) return;
  typename Plan::Scores scores;
  scores.clear();
  multiply_add_rows<Plan::kChannels>(queries, keys, Plan::kLd, scores);
  exponentiate<Plan>(scale_log2, first_query - first_key, scores, rows);
  if (work.dropout.p != 0) {
    const int64_t T = work.sizes.T;
    drop(work.dropout, head.probability(work.sizes) + first_query * T + first_key, T, scores);
  }
  multiply_add_sums(scores, values, Plan::kLd, rows.out);
}

// out and log_sum_exp of the warp's queries; out goes by way of where the queries were.
template <typename Plan>
__device__ void finish(bf16* queries, const Vectors<bf16>& out, float* log_sum_exp,
                       const RunningRows<Plan>& rows) {
  constexpr float kLn2 = 0.693147180559945309F;
  float factors[Plan::kStrips][2];
#pragma unroll
  for (int strip = 0; strip < Plan::kStrips; ++strip) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float sum = join_row<Sum>(rows.sum[strip][half]);
      factors[strip][half] = 1.0F / sum;
      const int row = strip * kStrip + row_of(2 * half);
      if (column_of(0) == 0 && row < out.count)
        log_sum_exp[row] = (rows.largest[strip][half] + log2f(sum)) * kLn2;
    }
  }
  round_to_tile(rows.out, factors, queries, Plan::kLd);
  __syncwarp();
  store_tile<Plan::kWarpQueries, Plan::kChannels, kWarp>(queries, Plan::kLd, out, lane_of_warp());
}

// Blocks: heads, and within a head its blocks of queries, those with the most keys first.
template <typename Plan>
__global__ void __launch_bounds__(kThreads, Plan::kBlocks)
    attention_forward_bf16_kernel(AttentionForward<bf16> work, float scale_log2, bool aligned) {
  LEASEHOLD_DYNAMIC_SHARED(bf16, queries);
  bf16* keys = queries + Plan::QueryTile::kElements;  // two tiles, then two of values
  bf16* values = keys + 2 * Plan::KeyTile::kElements;
  const int first_row = static_cast<int>(threadIdx.x) / kWarp * Plan::kWarpQueries;
  bf16* queries_of_warp = queries + first_row * Plan::kLd;

  const AttentionSizes& sizes = work.sizes;
  const int T = static_cast<int>(sizes.T);
  const int num_blocks = (T - 1) / Plan::kQueries + 1;
  const int block = static_cast<int>(blockIdx.x);
  const HeadPlace head = head_at(sizes, block / num_blocks);
  const int first = (num_blocks - 1 - block % num_blocks) * Plan::kQueries;
  const int first_of_warp = first + first_row;

  RunningRows<Plan> rows;
  rows.out.clear();
#pragma unroll
  for (int strip = 0; strip < Plan::kStrips; ++strip) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      rows.largest[strip][half] = -INFINITY;
      rows.sum[strip][half] = 0;
    }
  }
  const auto begin_keys = [&](int tile) {
    const int key = tile * Plan::kTileKeys, at = tile % 2 * Plan::KeyTile::kElements;
    begin_tile<Plan::kTileKeys, Plan::kChannels, kThreads>(
        vectors_in(sizes, work.qkv, head.key(sizes), key, aligned), keys + at);
    begin_tile<Plan::kTileKeys, Plan::kChannels, kThreads>(
        vectors_in(sizes, work.qkv, head.value(sizes), key, aligned), values + at);
    close_copies();
  };
  begin_tile<Plan::kQueries, Plan::kChannels, kThreads>(
      vectors_in(sizes, work.qkv, head.query(sizes), first, aligned), queries);
  begin_keys(0);
  const int end = T - first < Plan::kQueries ? T : first + Plan::kQueries;
  const int num_tiles = (end - 1) / Plan::kTileKeys + 1;
  for (int tile = 0; tile < num_tiles; ++tile) {
    wait_for_copies<0>();
    __syncthreads();  // all see this tile, and are done with the one before
    if (tile + 1 < num_tiles) begin_keys(tile + 1);
    const int at = tile % 2 * Plan::KeyTile::kElements;
    add_keys<Plan>(work, head, scale_log2, first_of_warp, tile * Plan::kTileKeys, queries_of_warp,
                   keys + at, values + at, rows);
  }
  if (first_of_warp < T) {
    finish<Plan>(queries_of_warp, out_vectors_in(sizes, work.out, head, first_of_warp, aligned),
                 work.log_sum_exp + head.statistic(sizes) + first_of_warp, rows);
  }
}

template <typename Plan>
void launch_plan(const AttentionForward<bf16>& work, cudaStream_t stream) {
  const AttentionSizes& sizes = work.sizes;
  allow_shared_memory(attention_forward_bf16_kernel<Plan>, Plan::kSharedBytes);
  const bool aligned = sizes.D % kPack<bf16> == 0 && are_aligned({work.qkv, work.out});
  const int64_t blocks = sizes.B * sizes.G * sizes.R * ceil_divide(sizes.T, Plan::kQueries);
  launch(attention_forward_bf16_kernel<Plan>, grid_of(blocks), dim3(kThreads), Plan::kSharedBytes,
         stream, work, attention_scale_log2(sizes), aligned);
}

}  // namespace

void attention_forward(const AttentionForward<bf16>& work, cudaStream_t stream) {
  with_padded_channels<32, 64, 96, 128, 192, 256>(work.sizes.D, [&](auto channels) {
    constexpr int kChannels = channels();
    constexpr int kStrips = kChannels <= 128 ? 2 : 1;
    constexpr int kBlocks = kChannels <= 64 ? 3 : 2;
    launch_plan<ForwardPlan<kChannels, kStrips, kBlocks>>(work, stream);
  });
}

}  // namespace leasehold::cuda
