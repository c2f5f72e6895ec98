// One kernel for both passes, as attention_backward_bf16.cu has it. A block has rows of its own and
// walks over tiles of columns:
//   dq:      rows are queries, columns keys;  left = q, dout;  right = k, v;
//   dk, dv:  rows are keys, columns queries;  left = k, v;     right = q, dout.
#include "runtime/tensor/cuda/attention_delta.h"
#include "runtime/tensor/cuda/attention_scalar.h"

namespace leasehold::cuda {

namespace {

// Blocks of 16 kRows rows and tiles of 16 kColumns columns.
template <bool kOfKeys_, int kChannels_, int kRows_, int kColumns_>
struct BackwardPlan {
  static constexpr bool kOfKeys = kOfKeys_;
  static constexpr int kChannels = kChannels_;
  static constexpr int kRows = kRows_;
  static constexpr int kColumns = kColumns_;
  static constexpr int kBlockRows = kSide * kRows;
  static constexpr int kTile = kSide * kColumns;
  using RowTile = Tile<float, kBlockRows, kChannels>;
  using ColumnTile = Tile<float, kTile, kChannels>;
  static constexpr int kFactors = kBlockRows * kFactorsLd<kColumns>;
  static constexpr int kSharedBytes =
      2 * RowTile::kBytes + 2 * ColumnTile::kBytes + (kOfKeys ? 2 : 1) * kFactors * 4;
  static_assert(kSharedBytes <= kMostSharedBytes);

  using Scores = ScalarScores<kRows, kColumns>;
  using Gradient = ScalarSums<kRows, kChannels>;
};

// What a block has in shared memory.
template <typename Plan>
struct Tiles {
  float *left[2], *right[2];
  float *dscores, *probabilities;  // the latter where rows are keys

  __device__ explicit Tiles(float* memory)
      : left{memory, memory + Plan::RowTile::kElements},
        right{left[1] + Plan::RowTile::kElements,
              left[1] + Plan::RowTile::kElements + Plan::ColumnTile::kElements},
        dscores(right[1] + Plan::ColumnTile::kElements),
        probabilities(dscores + Plan::kFactors) {}
};

template <typename Plan>
struct Gradients {
  typename Plan::Gradient of_scores;         // dq or dk
  typename Plan::Gradient of_probabilities;  // dv
};

// Scores become P times dropout's factors, dP becomes dS. Row 0 and column 0 are at these
// positions.
template <typename Plan>
__device__ void differentiate(const AttentionBackward<float>& work, const HeadPlace& head,
                              float scale_log2, int64_t first_row, int64_t first_column,
                              typename Plan::Scores& scores, typename Plan::Scores& dscores) {
  const int64_t T = work.sizes.T;
  const int64_t statistics = head.statistic(work.sizes);
#pragma unroll
  for (int i = 0; i < Plan::kRows; ++i) {
#pragma unroll
    for (int j = 0; j < Plan::kColumns; ++j) {
      const int64_t row = first_row + row_at(i), column = first_column + column_at(j);
      const int64_t query = Plan::kOfKeys ? column : row, key = Plan::kOfKeys ? row : column;
      float probability = 0, factor = 1, delta = 0;
      if (key <= query && query < T) {
        const float log_sum_exp = __ldg(work.log_sum_exp + statistics + query);
        delta = __ldg(work.workspace + statistics + query);
        probability = exp2f(scores.at[i][j] * scale_log2 - log_sum_exp * kLog2e);
        if (work.dropout.p != 0)
          factor = work.dropout.factor(head.probability(work.sizes) + query * T + key);
      }
      dscores.at[i][j] = probability * (dscores.at[i][j] * factor - delta);
      scores.at[i][j] = probability * factor;
    }
  }
}

// The block's rows against a tile of columns that has been loaded.
template <typename Plan>
__device__ void add_tile(const AttentionBackward<float>& work, const HeadPlace& head,
                         float scale_log2, int64_t first_row, int64_t first_column,
                         const Tiles<Plan>& tiles, Gradients<Plan>& gradients) {
  typename Plan::Scores scores, dscores;
  multiply_rows<Plan::kChannels>(tiles.left[0], tiles.right[0], scores);
  multiply_rows<Plan::kChannels>(tiles.left[1], tiles.right[1], dscores);
  differentiate<Plan>(work, head, scale_log2, first_row, first_column, scores, dscores);
  share(dscores, tiles.dscores);
  if constexpr (Plan::kOfKeys) share(scores, tiles.probabilities);
  __syncwarp();
  multiply_add_factors<Plan::kColumns>(tiles.dscores, tiles.right[0], gradients.of_scores);
  if constexpr (Plan::kOfKeys) {
    multiply_add_factors<Plan::kColumns>(tiles.probabilities, tiles.right[1],
                                         gradients.of_probabilities);
  }
}

// Blocks: heads (of keys or of queries), within them blocks of rows, those with the most columns
// first.
template <typename Plan>
__global__ void __launch_bounds__(kScalarThreads, 2)
    attention_backward_f32_kernel(AttentionBackward<float> work, float scale, float scale_log2,
                                  bool aligned) {
  LEASEHOLD_DYNAMIC_SHARED(float, memory);
  const Tiles<Plan> tiles(memory);
  const AttentionSizes& sizes = work.sizes;
  const int64_t num_blocks = ceil_divide(sizes.T, Plan::kBlockRows);
  const int64_t block =
      Plan::kOfKeys ? blockIdx.x % num_blocks : num_blocks - 1 - blockIdx.x % num_blocks;
  const int64_t first = block * Plan::kBlockRows;
  // The first query head where rows are keys.
  HeadPlace head = head_at(sizes, blockIdx.x / num_blocks * (Plan::kOfKeys ? sizes.R : 1));
  const auto load_rows = [&](const Vectors<const float>& vectors, float* tile) {
    load_tile<Plan::kBlockRows, Plan::kChannels, kScalarThreads>(vectors, tile);
  };
  const auto load_columns = [&](const Vectors<const float>& vectors, float* tile) {
    load_tile<Plan::kTile, Plan::kChannels, kScalarThreads>(vectors, tile);
  };
  const auto packed = [&](int64_t offset, int64_t position) {
    return vectors_in(sizes, work.qkv, offset, position, aligned);
  };
  const auto douts = [&](int64_t position) {
    return out_vectors_in(sizes, work.dout, head, position, aligned);
  };

  Gradients<Plan> gradients;
  gradients.of_scores.clear();
  gradients.of_probabilities.clear();
  if constexpr (Plan::kOfKeys) {
    load_rows(packed(head.key(sizes), first), tiles.left[0]);
    load_rows(packed(head.value(sizes), first), tiles.left[1]);
    for (int64_t r = 0; r < sizes.R; ++r) {
      const HeadPlace query_head{head.b, head.h + r};
      for (int64_t query = first / Plan::kTile * Plan::kTile; query < sizes.T;
           query += Plan::kTile) {
        load_columns(packed(query_head.query(sizes), query), tiles.right[0]);
        load_columns(out_vectors_in(sizes, work.dout, query_head, query, aligned), tiles.right[1]);
        __syncthreads();
        add_tile(work, query_head, scale_log2, first, query, tiles, gradients);
        __syncthreads();
      }
    }
  } else {
    load_rows(packed(head.query(sizes), first), tiles.left[0]);
    load_rows(douts(first), tiles.left[1]);
    const int64_t end = first + Plan::kBlockRows < sizes.T ? first + Plan::kBlockRows : sizes.T;
    for (int64_t key = 0; key < end; key += Plan::kTile) {
      load_columns(packed(head.key(sizes), key), tiles.right[0]);
      load_columns(packed(head.value(sizes), key), tiles.right[1]);
      __syncthreads();
      add_tile(work, head, scale_log2, first, key, tiles, gradients);
      __syncthreads();
    }
  }

  const auto store_to = [&](const typename Plan::Gradient& sums, float factor, int64_t offset) {
    float factors[Plan::kRows];
#pragma unroll
    for (float& of_row : factors) of_row = factor;
    store_sums(sums, factors, vectors_in(sizes, work.dqkv, offset, first, aligned));
  };
  store_to(gradients.of_scores, scale, Plan::kOfKeys ? head.key(sizes) : head.query(sizes));
  if constexpr (Plan::kOfKeys) store_to(gradients.of_probabilities, 1, head.value(sizes));
}

template <typename Plan>
void launch_plan(const AttentionBackward<float>& work, cudaStream_t stream) {
  const AttentionSizes& sizes = work.sizes;
  allow_shared_memory(attention_backward_f32_kernel<Plan>, Plan::kSharedBytes);
  const bool aligned = sizes.D % kPack<float> == 0 && are_aligned({work.qkv, work.dout, work.dqkv});
  const int64_t blocks =
      sizes.B * sizes.G * (Plan::kOfKeys ? 1 : sizes.R) * ceil_divide(sizes.T, Plan::kBlockRows);
  launch(attention_backward_f32_kernel<Plan>, grid_of(blocks), dim3(kScalarThreads),
         Plan::kSharedBytes, stream, work, attention_scale(sizes), attention_scale_log2(sizes),
         aligned);
}

}  // namespace

void attention_backward(const AttentionBackward<float>& work, cudaStream_t stream) {
  attention_delta(work, stream);
  with_padded_channels<32, 64, 128, 256>(work.sizes.D, [&](auto channels) {
    constexpr int kChannels = channels();
    constexpr int kRows = kChannels <= 64 ? 4 : kChannels == 128 ? 2 : 1;
    constexpr int kColumns = kChannels <= 128 ? 2 : 1;
    launch_plan<BackwardPlan<true, kChannels, kRows, kColumns>>(work, stream);
    launch_plan<BackwardPlan<false, kChannels, kRows, kColumns>>(work, stream);
  });
}

}  // namespace leasehold::cuda
