// One kernel for both passes. A block has rows of its own and walks over tiles of columns:
//   dq:      rows are queries, columns keys;  left = q, dout;  right = k, v;
//   dk, dv:  rows are keys, columns queries;  left = k, v;     right = q, dout.
// Scores = left[0] right[0]^T and dP = left[1] right[1]^T stay in registers, become P and dS there,
// and are the left sides of the products with right that follow.
#include "runtime/tensor/cuda/attention_delta.h"
#include "runtime/tensor/cuda/attention_matrices.h"

namespace leasehold::cuda {

namespace {

using bf16 = __nv_bfloat16;

constexpr int kWarps = 4;
constexpr int kThreads = kWarps * kWarp;

// kStrips of 16 rows to a warp, tiles of kTile columns, of which a warp takes kScores at a time.
// The channels are summed in kParts by as many blocks, each of which forms all scores: a warp's
// sums take kStrips (kScores + kChannels / kParts / 2 for each gradient) registers. kBlocks to a
// multiprocessor.
template <bool kOfKeys_, int kChannels_, int kStrips_, int kTile_, int kScores_, int kParts_,
          int kBlocks_>
struct BackwardPlan {
  static constexpr bool kOfKeys = kOfKeys_;
  static constexpr int kChannels = kChannels_;
  static constexpr int kStrips = kStrips_;
  static constexpr int kTile = kTile_;
  static constexpr int kScores = kScores_;
  static constexpr int kParts = kParts_;
  static constexpr int kBlocks = kBlocks_;
  static constexpr int kPartChannels = kChannels / kParts;
  static constexpr int kWarpRows = kStrip * kStrips;
  static constexpr int kRows = kWarps * kWarpRows;
  using RowTile = Tile<bf16, kRows, kChannels>;
  using ColumnTile = Tile<bf16, kTile, kChannels>;
  static constexpr int kLd = RowTile::kLd;
  static constexpr int kSharedBytes = 2 * RowTile::kBytes + 2 * ColumnTile::kBytes +
                                      (kOfKeys ? kTile * static_cast<int>(sizeof(float2)) : 0);
  static_assert(kSharedBytes <= kMostSharedBytes);

  using Scores = Sums<kStrips, kScores / kFragment>;
  using Gradient = Sums<kStrips, kPartChannels / kFragment>;
  using Mask = Kept<kStrips, kScores / kFragment>;
};

// What a block has in shared memory.
template <typename Plan>
struct Tiles {
  bf16 *left[2], *right[2];
  float2* statistics;  // of the tile's columns, where those are queries

  __device__ explicit Tiles(bf16* memory)
      : left{memory, memory + Plan::RowTile::kElements},
        right{left[1] + Plan::RowTile::kElements,
              left[1] + Plan::RowTile::kElements + Plan::ColumnTile::kElements},
        statistics(reinterpret_cast<float2*>(right[1] + Plan::ColumnTile::kElements)) {}
};

// Of a query: log_sum_exp in exponents of 2, such that the probabilities of one that does not exist
// are 0, and rowsum(dout out).
__device__ float2 statistics_of(const AttentionBackward<bf16>& work, const HeadPlace& head,
                                int64_t query) {
  if (query >= work.sizes.T) return {INFINITY, 0};
  const int64_t at = head.statistic(work.sizes) + query;
  return {work.log_sum_exp[at] * kLog2e, work.workspace[at]};
}

// A warp's rows, its sums, and the statistics of its rows, where those are queries.
template <typename Plan>
struct WarpRows {
  int64_t first;  // position of row 0
  const bf16* left[2];
  typename Plan::Gradient of_scores;         // dq or dk
  typename Plan::Gradient of_probabilities;  // dv
  float2 statistics[Plan::kStrips][2];
};

// Scores become P times dropout's factors, dP becomes dS. Column 0's position is `ahead` of row
// 0's.
template <typename Plan>
__device__ void differentiate(float scale_log2, float dropout_kept, int ahead,
                              const typename Plan::Mask& mask,
                              const float2 (&rows)[Plan::kStrips][2], const float2* columns,
                              typename Plan::Scores& scores, typename Plan::Scores& dscores) {
  const bool crosses_diagonal =
      Plan::kOfKeys ? ahead < Plan::kWarpRows - 1 : ahead > 1 - Plan::kScores;
#pragma unroll
  for (int column = 0; column < Plan::kScores / kFragment; ++column) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int c = column * kFragment + column_of(i) + ahead;
#pragma unroll
      for (int strip = 0; strip < Plan::kStrips; ++strip) {
        const int r = strip * kStrip + row_of(i);
        float2 of_query = rows[strip][i / 2];
        if constexpr (Plan::kOfKeys) of_query = columns[column * kFragment + column_of(i)];
        float& p = scores.at[strip][column][i];
        float& ds = dscores.at[strip][column][i];
        float probability = exp2_approximate(p * scale_log2 - of_query.x);
        if (crosses_diagonal && (Plan::kOfKeys ? r > c : c > r)) probability = 0;
        float factor = 1;
        if (dropout_kept != 0) factor = mask.keeps(strip, column, i) ? dropout_kept : 0.0F;
        ds = probability * (ds * factor - of_query.y);
        p = probability * factor;
      }
    }
  }
}

// The warp's rows against kScores columns of a tile, whose first is `column` of it.
template <typename Plan>
__device__ void add_columns(const AttentionBackward<bf16>& work, const HeadPlace& head,
                            float scale_log2, const Tiles<Plan>& tiles, int column,
                            int64_t first_column, int first_channel, WarpRows<Plan>& rows) {
  const int64_t T = work.sizes.T;
  // Not where all keys lie behind all queries, nor for what does not exist.
  const bool is_behind = Plan::kOfKeys ? first_column + Plan::kScores <= rows.first
                                       : first_column >= rows.first + Plan::kWarpRows;
  if (is_behind || rows.first >= T || first_column >= T) return;
  const bf16* right[2] = {tiles.right[0] + column * Plan::kLd, tiles.right[1] + column * Plan::kLd};
  typename Plan::Scores scores, dscores;
  scores.clear();
  multiply_add_rows<Plan::kChannels>(rows.left[0], right[0], Plan::kLd, scores);
  dscores.clear();
  multiply_add_rows<Plan::kChannels>(rows.left[1], right[1], Plan::kLd, dscores);
  typename Plan::Mask mask;
  if (work.dropout.p != 0) {
    const int64_t all = head.probability(work.sizes);
    if constexpr (Plan::kOfKeys) {
      mask.draw_rows_of_keys(work.dropout, all + first_column * T + rows.first, T);
    } else {
      mask.draw_rows_of_queries(work.dropout, all + rows.first * T + first_column, T);
    }
  }
  differentiate<Plan>(scale_log2, work.dropout.p != 0 ? work.dropout.kept : 0.0F,
                      distance(rows.first, first_column, 64), mask, rows.statistics,
                      tiles.statistics + column, scores, dscores);
  if constexpr (Plan::kOfKeys)
    multiply_add_sums(scores, right[1] + first_channel, Plan::kLd, rows.of_probabilities);
  multiply_add_sums(dscores, right[0] + first_channel, Plan::kLd, rows.of_scores);
}

// `sums` times `factor` to `to`, by way of the warp's part of a left tile.
template <typename Plan>
__device__ void finish(const typename Plan::Gradient& sums, float factor, bf16* tile,
                       Vectors<bf16> to, int first_channel) {
  float factors[Plan::kStrips][2];
#pragma unroll
  for (int strip = 0; strip < Plan::kStrips; ++strip)
    factors[strip][0] = factors[strip][1] = factor;
  round_to_tile(sums, factors, tile, Plan::kLd);
  __syncwarp();
  to.first += first_channel;
  to.channels -= first_channel;
  store_tile<Plan::kWarpRows, Plan::kPartChannels, kWarp>(tile, Plan::kLd, to, lane_of_warp());
}

// Blocks: heads (of keys or of queries), within them blocks of rows, those with the most columns
// first, and within those the parts of the channels.
template <typename Plan>
__global__ void __launch_bounds__(kThreads, Plan::kBlocks)
    attention_backward_bf16_kernel(AttentionBackward<bf16> work, float scale, float scale_log2,
                                   bool aligned) {
  LEASEHOLD_DYNAMIC_SHARED(bf16, memory);
  const Tiles<Plan> tiles(memory);
  const AttentionSizes& sizes = work.sizes;
  const int64_t num_blocks = ceil_divide(sizes.T, Plan::kRows);
  const int64_t index = blockIdx.x / Plan::kParts;
  const int first_channel = static_cast<int>(blockIdx.x % Plan::kParts) * Plan::kPartChannels;
  const int64_t block = Plan::kOfKeys ? index % num_blocks : num_blocks - 1 - index % num_blocks;
  const int64_t first = block * Plan::kRows;
  // The first query head where rows are keys.
  HeadPlace head = head_at(sizes, index / num_blocks * (Plan::kOfKeys ? sizes.R : 1));
  const int first_row = static_cast<int>(threadIdx.x) / kWarp * Plan::kWarpRows;

  WarpRows<Plan> rows;
  rows.first = first + first_row;
  rows.of_scores.clear();
  rows.of_probabilities.clear();
#pragma unroll
  for (int i = 0; i < 2; ++i) rows.left[i] = tiles.left[i] + first_row * Plan::kLd;
  const auto load_rows = [&](const Vectors<const bf16>& vectors, bf16* tile) {
    load_tile<Plan::kRows, Plan::kChannels, kThreads>(vectors, tile);
  };
  const auto load_columns = [&](const Vectors<const bf16>& vectors, bf16* tile) {
    load_tile<Plan::kTile, Plan::kChannels, kThreads>(vectors, tile);
  };
  const auto packed = [&](int64_t offset, int64_t position) {
    return vectors_in(sizes, work.qkv, offset, position, aligned);
  };
  const auto douts = [&](int64_t position) {
    return out_vectors_in(sizes, work.dout, head, position, aligned);
  };

  if constexpr (Plan::kOfKeys) {
    load_rows(packed(head.key(sizes), first), tiles.left[0]);
    load_rows(packed(head.value(sizes), first), tiles.left[1]);
    for (int64_t r = 0; r < sizes.R; ++r) {
      for (int64_t query = first / Plan::kTile * Plan::kTile; query < sizes.T;
           query += Plan::kTile) {
        load_columns(packed(head.query(sizes), query), tiles.right[0]);
        load_columns(douts(query), tiles.right[1]);
        for (int i = static_cast<int>(threadIdx.x); i < Plan::kTile; i += kThreads)
          tiles.statistics[i] = statistics_of(work, head, query + i);
        __syncthreads();
#pragma unroll 1
        for (int i = 0; i < Plan::kTile; i += Plan::kScores)
          add_columns(work, head, scale_log2, tiles, i, query + i, first_channel, rows);
        __syncthreads();
      }
      ++head.h;
    }
    --head.h;
  } else {
    load_rows(packed(head.query(sizes), first), tiles.left[0]);
    load_rows(douts(first), tiles.left[1]);
#pragma unroll
    for (int strip = 0; strip < Plan::kStrips; ++strip) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        rows.statistics[strip][half] =
            statistics_of(work, head, rows.first + strip * kStrip + row_of(2 * half));
      }
    }
    const int64_t end = first + Plan::kRows < sizes.T ? first + Plan::kRows : sizes.T;
    for (int64_t key = 0; key < end; key += Plan::kTile) {
      load_columns(packed(head.key(sizes), key), tiles.right[0]);
      load_columns(packed(head.value(sizes), key), tiles.right[1]);
      __syncthreads();
#pragma unroll 1
      for (int i = 0; i < Plan::kTile; i += Plan::kScores)
        add_columns(work, head, scale_log2, tiles, i, key + i, first_channel, rows);
      __syncthreads();
    }
  }

  if (rows.first >= sizes.T) return;
  const auto gradients = [&](int64_t offset) {
    return vectors_in(sizes, work.dqkv, offset, rows.first, aligned);
  };
  bf16* left[2] = {tiles.left[0] + first_row * Plan::kLd, tiles.left[1] + first_row * Plan::kLd};
  finish<Plan>(rows.of_scores, scale, left[0],
               gradients(Plan::kOfKeys ? head.key(sizes) : head.query(sizes)), first_channel);
  if constexpr (Plan::kOfKeys)
    finish<Plan>(rows.of_probabilities, 1, left[1], gradients(head.value(sizes)), first_channel);
}

template <typename Plan>
void launch_plan(const AttentionBackward<bf16>& work, cudaStream_t stream) {
  const AttentionSizes& sizes = work.sizes;
  allow_shared_memory(attention_backward_bf16_kernel<Plan>, Plan::kSharedBytes);
  const bool aligned = sizes.D % kPack<bf16> == 0 && are_aligned({work.qkv, work.dout, work.dqkv});
  const int64_t blocks = sizes.B * sizes.G * (Plan::kOfKeys ? 1 : sizes.R) *
                         ceil_divide(sizes.T, Plan::kRows) * Plan::kParts;
  launch(attention_backward_bf16_kernel<Plan>, grid_of(blocks), dim3(kThreads), Plan::kSharedBytes,
         stream, work, attention_scale(sizes), attention_scale_log2(sizes), aligned);
}

}  // namespace

void attention_backward(const AttentionBackward<bf16>& work, cudaStream_t stream) {
  attention_delta(work, stream);
  with_padded_channels<32, 64, 96, 128, 192, 256>(work.sizes.D, [&](auto channels) {
    constexpr int kChannels = channels();
    constexpr bool kShort = kChannels <= 64, kLong = kChannels > 128;
    constexpr int kTile = kShort ? 64 : kLong ? 16 : 32;
    constexpr int kScores = kLong ? 16 : 32;
    constexpr int kBlocks = kShort ? 3 : 2;
    using OfKeys = BackwardPlan<true, kChannels, 1, kTile, kScores, kLong ? 2 : 1, kBlocks>;
    using OfQueries =
        BackwardPlan<false, kChannels, kShort ? 2 : 1, kTile, kShort ? 16 : kScores, 1, kBlocks>;
    launch_plan<OfKeys>(work, stream);
    launch_plan<OfQueries>(work, stream);
  });
}

}  // namespace leasehold::cuda
