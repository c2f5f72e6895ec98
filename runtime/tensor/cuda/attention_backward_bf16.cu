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

// kStrips of 16 rows to a warp and tiles of kTile columns. The channels are summed in kParts by as
// many blocks, each of which forms all scores: a warp's sums take kStrips (kTile + kChannels /
// kParts / 2 for each gradient) registers. kBlocks to a multiprocessor.
template <bool kOfKeys_, int kChannels_, int kStrips_, int kTile_, int kParts_, int kBlocks_>
struct BackwardPlan {
  static constexpr bool kOfKeys = kOfKeys_;
  static constexpr int kChannels = kChannels_;
  static constexpr int kStrips = kStrips_;
  static constexpr int kTile = kTile_;
  static constexpr int kParts = kParts_;
  static constexpr int kBlocks = kBlocks_;
  static constexpr int kPartChannels = kChannels / kParts;
  static constexpr int kWarpRows = kStrip * kStrips;
  static constexpr int kRows = kWarps * kWarpRows;
  using RowTile = Tile<bf16, kRows, kChannels>;
  using ColumnTile = Tile<bf16, kTile, kChannels>;
  static constexpr int kLd = RowTile::kLd;
  static constexpr int kSharedBytes =
      2 * (RowTile::kBytes + 2 * ColumnTile::kBytes + (kOfKeys ? 2 * kTile * 4 : 0));
  static_assert(kSharedBytes <= kMostSharedBytes);

  using Scores = Sums<kStrips, kTile / kFragment>;
  using Gradient = Sums<kStrips, kPartChannels / kFragment>;
  using Mask = Kept<kStrips, kTile / kFragment>;
};

// What a block has in shared memory. Of what belongs to a tile of columns there are two.
template <typename Plan>
struct Tiles {
  bf16 *left[2], *right[2];
  float* statistics[2];  // of the columns, where those are queries: log_sum_exp, rowsum(dout out)

  __device__ explicit Tiles(bf16* memory) {
    for (int i = 0; i < 2; ++i) {
      left[i] = memory + i * Plan::RowTile::kElements;
      right[i] = memory + 2 * Plan::RowTile::kElements + 2 * i * Plan::ColumnTile::kElements;
      statistics[i] = reinterpret_cast<float*>(memory + 2 * Plan::RowTile::kElements +
                                               4 * Plan::ColumnTile::kElements) +
                      2 * i * Plan::kTile;
    }
  }
  // The tiles of which a walk's turn is `turn`.
  __device__ bf16* columns(int i, int turn) const {
    return right[i] + turn % 2 * Plan::ColumnTile::kElements;
  }
  __device__ float* statistics_at(int i, int turn) const {
    return statistics[i] + turn % 2 * Plan::kTile;
  }
};

// A warp's rows, its sums, and the statistics of its rows, where those are queries: log_sum_exp and
// rowsum(dout out).
template <typename Plan>
struct WarpRows {
  int64_t first;  // position of row 0
  bf16* left[2];
  typename Plan::Gradient of_scores;         // dq or dk
  typename Plan::Gradient of_probabilities;  // dv
  float log_sum_exp[Plan::kStrips][2];
  float delta[Plan::kStrips][2];
};

// Scores become P times dropout's factors, dP becomes dS. Column 0's position is `ahead` of row
// 0's. A query that does not exist has zeros for statistics, dout and q, and adds nothing.
template <typename Plan>
__device__ void differentiate(float scale_log2, float dropout_kept, int ahead,
                              const typename Plan::Mask& mask, const WarpRows<Plan>& rows,
                              const float* log_sum_exps, const float* deltas,
                              typename Plan::Scores& scores, typename Plan::Scores& dscores) {
  const bool crosses_diagonal =
      Plan::kOfKeys ? ahead < Plan::kWarpRows - 1 : ahead > 1 - Plan::kTile;
#pragma unroll
  for (int column = 0; column < Plan::kTile / kFragment; ++column) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int c = column * kFragment + column_of(i);
#pragma unroll
      for (int strip = 0; strip < Plan::kStrips; ++strip) {
        const int r = strip * kStrip + row_of(i);
        float log_sum_exp = rows.log_sum_exp[strip][i / 2], delta = rows.delta[strip][i / 2];
        if constexpr (Plan::kOfKeys) log_sum_exp = log_sum_exps[c], delta = deltas[c];
        float& p = scores.at[strip][column][i];
        float& ds = dscores.at[strip][column][i];
        float probability = exp2_approximate(p * scale_log2 - log_sum_exp * kLog2e);
        if (crosses_diagonal && (Plan::kOfKeys ? r > c + ahead : c + ahead > r)) probability = 0;
        float factor = 1;
        if (dropout_kept != 0) factor = mask.keeps(strip, column, i) ? dropout_kept : 0.0F;
        ds = probability * (ds * factor - delta);
        p = probability * factor;
      }
    }
  }
}

// The warp's rows against a tile.
template <typename Plan>
__device__ void add_columns(const AttentionBackward<bf16>& work, const HeadPlace& head,
                            float scale_log2, const Tiles<Plan>& tiles, int turn,
                            int64_t first_column, int first_channel, WarpRows<Plan>& rows) {
  const int64_t T = work.sizes.T;
  // Not where all keys lie behind all queries, nor for rows that do not exist.
  const bool is_behind = Plan::kOfKeys ? first_column + Plan::kTile <= rows.first
                                       : first_column >= rows.first + Plan::kWarpRows;
  if (is_behind || rows.first >= T) return;
  const bf16* right[2] = {tiles.columns(0, turn), tiles.columns(1, turn)};
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
                      distance(rows.first, first_column, 64), mask, rows,
                      tiles.statistics_at(0, turn), tiles.statistics_at(1, turn), scores, dscores);
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

// The tiles of columns that a block walks over, turn after turn, and its copies of them.
template <typename Plan>
struct Walk {
  const AttentionBackward<bf16>& work;
  const Tiles<Plan>& tiles;
  HeadPlace first_head;  // of the queries
  int64_t first_row;     // the block's
  bool aligned;

  // Keys up to the last query; or queries from the first key on, of one head after the other.
  __device__ int first_tile() const {
    return Plan::kOfKeys ? static_cast<int>(first_row / Plan::kTile) : 0;
  }
  __device__ int tiles_of_head() const {
    const int64_t T = work.sizes.T;
    const int64_t end = Plan::kOfKeys || first_row + Plan::kRows > T ? T : first_row + Plan::kRows;
    return static_cast<int>(ceil_divide(end, Plan::kTile)) - first_tile();
  }
  __device__ int num_turns() const {
    return Plan::kOfKeys ? tiles_of_head() * static_cast<int>(work.sizes.R) : tiles_of_head();
  }
  __device__ HeadPlace head(int turn) const {
    return {first_head.b, first_head.h + (Plan::kOfKeys ? turn / tiles_of_head() : 0)};
  }
  __device__ int64_t column(int turn) const {
    const int tile = Plan::kOfKeys ? turn % tiles_of_head() : turn;
    return int64_t{first_tile() + tile} * Plan::kTile;
  }

  __device__ void begin_rows() const {
    const int64_t query_or_key =
        Plan::kOfKeys ? first_head.key(work.sizes) : first_head.query(work.sizes);
    begin<Plan::kRows>(packed(query_or_key, first_row), tiles.left[0]);
    begin<Plan::kRows>(Plan::kOfKeys ? packed(first_head.value(work.sizes), first_row)
                                     : douts(first_head, first_row),
                       tiles.left[1]);
  }
  __device__ void begin_columns(int turn) const {
    const HeadPlace at = head(turn);
    const int64_t first = column(turn);
    const int64_t query_or_key = Plan::kOfKeys ? at.query(work.sizes) : at.key(work.sizes);
    begin<Plan::kTile>(packed(query_or_key, first), tiles.columns(0, turn));
    begin<Plan::kTile>(Plan::kOfKeys ? douts(at, first) : packed(at.value(work.sizes), first),
                       tiles.columns(1, turn));
    if (const int i = static_cast<int>(threadIdx.x); Plan::kOfKeys && i < Plan::kTile) {
      const int64_t statistic = at.statistic(work.sizes) + first;
      const bool exists = first + i < work.sizes.T;
      const int64_t from = statistic + (exists ? i : 0);
      begin_copy<4>(tiles.statistics_at(0, turn) + i, work.log_sum_exp + from, exists);
      begin_copy<4>(tiles.statistics_at(1, turn) + i, work.workspace + from, exists);
    }
    close_copies();
  }

 private:
  __device__ Vectors<const bf16> packed(int64_t offset, int64_t position) const {
    return vectors_in(work.sizes, work.qkv, offset, position, aligned);
  }
  __device__ Vectors<const bf16> douts(const HeadPlace& at, int64_t position) const {
    return out_vectors_in(work.sizes, work.dout, at, position, aligned);
  }
  template <int kCount>
  __device__ static void begin(const Vectors<const bf16>& vectors, bf16* tile) {
    begin_tile<kCount, Plan::kChannels, kThreads>(vectors, tile);
  }
};

template <typename Plan>
__device__ void begin_sums(const AttentionBackward<bf16>& work, const HeadPlace& head,
                           WarpRows<Plan>& rows) {
  rows.of_scores.clear();
  rows.of_probabilities.clear();
  if constexpr (!Plan::kOfKeys) {
#pragma unroll
    for (int strip = 0; strip < Plan::kStrips; ++strip) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int64_t query = rows.first + strip * kStrip + row_of(2 * half);
        const int64_t at = head.statistic(work.sizes) + query;
        const bool exists = query < work.sizes.T;
        rows.log_sum_exp[strip][half] = exists ? work.log_sum_exp[at] : 0;
        rows.delta[strip][half] = exists ? work.workspace[at] : 0;
      }
    }
  }
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
  // Where rows are keys, the first query head of theirs.
  const HeadPlace head = head_at(sizes, index / num_blocks * (Plan::kOfKeys ? sizes.R : 1));
  const Walk<Plan> walk{work, tiles, head, block * Plan::kRows, aligned};
  const int first_row = static_cast<int>(threadIdx.x) / kWarp * Plan::kWarpRows;

  WarpRows<Plan> rows;
  rows.first = walk.first_row + first_row;
  for (int i = 0; i < 2; ++i) rows.left[i] = tiles.left[i] + first_row * Plan::kLd;
  walk.begin_rows();
  walk.begin_columns(0);
  begin_sums(work, head, rows);
  const int num_turns = walk.num_turns();
  for (int turn = 0; turn < num_turns; ++turn) {
    wait_for_copies<0>();
    __syncthreads();  // all see this tile, and are done with the one before
    if (turn + 1 < num_turns) walk.begin_columns(turn + 1);
    add_columns(work, walk.head(turn), scale_log2, tiles, turn, walk.column(turn), first_channel,
                rows);
  }

  if (rows.first >= sizes.T) return;
  const auto gradients = [&](int64_t offset) {
    return vectors_in(sizes, work.dqkv, offset, rows.first, aligned);
  };
  finish<Plan>(rows.of_scores, scale, rows.left[0],
               gradients(Plan::kOfKeys ? head.key(sizes) : head.query(sizes)), first_channel);
  if constexpr (Plan::kOfKeys)
    finish<Plan>(rows.of_probabilities, 1, rows.left[1], gradients(head.value(sizes)),
                 first_channel);
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
    constexpr int kTile = kLong ? 16 : 32;
    constexpr int kBlocks = kShort ? 3 : 2;
    using OfKeys = BackwardPlan<true, kChannels, 1, kTile, kLong ? 2 : 1, kBlocks>;
    using OfQueries =
        BackwardPlan<false, kChannels, kShort ? 2 : 1, kChannels == 64 ? 16 : kTile, 1, kBlocks>;
    launch_plan<OfKeys>(work, stream);
    launch_plan<OfQueries>(work, stream);
  });
}

}  // namespace leasehold::cuda
