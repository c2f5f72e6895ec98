// Products of tiles on tensor cores, for the attention kernels. A warp's sums (16 kStrips, 8
// kColumns) are fragments of 16 x 8, in registers.
#pragma once

#include "runtime/tensor/cuda/attention_tiles.h"
#include "runtime/tensor/cuda/instructions.h"
#include "runtime/tensor/cuda/rows.h"

namespace leasehold::cuda {

constexpr int kStrip = 16;    // rows of a fragment of sums, and its depth
constexpr int kFragment = 8;  // columns of a fragment of sums

template <int kStrips, int kColumns>
struct Sums {
  float at[kStrips][kColumns][4];

  __device__ void clear() {
#pragma unroll
    for (int strip = 0; strip < kStrips; ++strip) {
#pragma unroll
      for (int column = 0; column < kColumns; ++column) {
#pragma unroll
        for (int i = 0; i < 4; ++i) at[strip][column][i] = 0;
      }
    }
  }
};

// Where lanes' elements lie in a fragment of sums: element i is in row row_of(i), column
// column_of(i).
__device__ inline int lane_of_warp() { return static_cast<int>(threadIdx.x) % kWarp; }
__device__ inline int row_of(int i) { return lane_of_warp() / 4 + i / 2 * 8; }
__device__ inline int column_of(int i) { return lane_of_warp() % 4 * 2 + i % 2; }

__device__ inline uint32_t round_pair(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  uint32_t word;
  std::memcpy(&word, &pair, sizeof word);
  return word;
}

// The left side of depth [16 depth, 16 depth + 16) that a strip's sums, rounded, are.
template <int kStrips, int kColumns>
__device__ inline void left_of(const Sums<kStrips, kColumns>& sums, int strip, int depth,
                               uint32_t (&left)[4]) {
  const auto& low = sums.at[strip][2 * depth];
  const auto& high = sums.at[strip][2 * depth + 1];
  left[0] = round_pair(low[0], low[1]);
  left[1] = round_pair(low[2], low[3]);
  left[2] = round_pair(high[0], high[1]);
  left[3] = round_pair(high[2], high[3]);
}

// left (16, 16) at `tile`, rows ld apart.
__device__ inline void load_left(const __nv_bfloat16* tile, int ld, uint32_t (&left)[4]) {
  const int lane = lane_of_warp();
  load_matrices(tile + lane % 16 * ld + lane / 16 * 8, left);
}

// sums += left right^T for left (16 kStrips, kDepth) and right (8 kColumns, kDepth), both by rows
// in shared memory, ld apart.
template <int kDepth, int kStrips, int kColumns>
__device__ inline void multiply_add_rows(const __nv_bfloat16* left, const __nv_bfloat16* right,
                                         int ld, Sums<kStrips, kColumns>& sums) {
  const int lane = lane_of_warp();
  const __nv_bfloat16* of_lane = right + (lane / 16 * 8 + lane % 8) * ld + lane / 8 % 2 * 8;
  // More would be loaded ahead than registers hold.
  [[maybe_unused]] constexpr int kUnrolled = kDepth <= 64 ? 1 : 2;
#pragma unroll kUnrolled
  for (int depth = 0; depth < kDepth; depth += kStrip) {
    uint32_t rows[kStrips][4];
#pragma unroll
    for (int strip = 0; strip < kStrips; ++strip)
      load_left(left + strip * kStrip * ld + depth, ld, rows[strip]);
#pragma unroll
    for (int column = 0; column < kColumns; column += 2) {
      uint32_t words[4];
      load_matrices(of_lane + column * kFragment * ld + depth, words);
#pragma unroll
      for (int strip = 0; strip < kStrips; ++strip) {
        multiply_add(rows[strip], words[0], words[1], sums.at[strip][column]);
        multiply_add(rows[strip], words[2], words[3], sums.at[strip][column + 1]);
      }
    }
  }
}

// sums += left right for left = factors (16 kStrips, 8 kDepthColumns), rounded to bf16, and right
// (8 kDepthColumns, 8 kColumns) by rows in shared memory, ld apart.
template <int kStrips, int kDepthColumns, int kColumns>
__device__ inline void multiply_add_sums(const Sums<kStrips, kDepthColumns>& factors,
                                         const __nv_bfloat16* right, int ld,
                                         Sums<kStrips, kColumns>& sums) {
  const int lane = lane_of_warp();
  const __nv_bfloat16* of_lane = right + lane % 16 * ld + lane / 16 * 8;
#pragma unroll
  for (int depth = 0; depth < kDepthColumns / 2; ++depth) {
    uint32_t rows[kStrips][4];
#pragma unroll
    for (int strip = 0; strip < kStrips; ++strip) left_of(factors, strip, depth, rows[strip]);
#pragma unroll
    for (int column = 0; column < kColumns; column += 2) {
      uint32_t words[4];
      load_matrices_transposed(of_lane + depth * kStrip * ld + column * kFragment, words);
#pragma unroll
      for (int strip = 0; strip < kStrips; ++strip) {
        multiply_add(rows[strip], words[0], words[1], sums.at[strip][column]);
        multiply_add(rows[strip], words[2], words[3], sums.at[strip][column + 1]);
      }
    }
  }
}

// One value per row, joined over the lanes that share it.
template <typename Join>
__device__ inline float join_row(float value) {
  value = Join::join(value, __shfl_xor_sync(kAllLanes, value, 1));
  return Join::join(value, __shfl_xor_sync(kAllLanes, value, 2));
}

// sums times the factor of each row, rounded, to a tile in shared memory; row_factors[strip][i /
// 2].
template <int kStrips, int kColumns>
__device__ inline void round_to_tile(const Sums<kStrips, kColumns>& sums,
                                     const float (&row_factors)[kStrips][2], __nv_bfloat16* tile,
                                     int ld) {
#pragma unroll
  for (int strip = 0; strip < kStrips; ++strip) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float factor = row_factors[strip][half];
      __nv_bfloat16* row = tile + (strip * kStrip + row_of(2 * half)) * ld + column_of(0);
#pragma unroll
      for (int column = 0; column < kColumns; ++column) {
        const auto& x = sums.at[strip][column];
        *reinterpret_cast<uint32_t*>(row + column * kFragment) =
            round_pair(x[2 * half] * factor, x[2 * half + 1] * factor);
      }
    }
  }
}

// Which of a warp's probabilities dropout keeps: bit 8 column + i % 2 of at[strip][i / 2] for
// element i of sums' at[strip][column]. Lanes draw words of random numbers for each other.
template <int kStrips, int kColumns>
struct Kept {
  static_assert(kStrips <= 2 && kColumns <= 4);
  uint32_t at[kStrips][2];

  // Row r belongs to query r and column c to key c. `first` is the probability's element where both
  // are 0, T apart from the next query's.
  __device__ void draw_rows_of_queries(const DropoutMask& dropout, int64_t first, int64_t T) {
    const int lane = lane_of_warp();
    const int64_t row = kStrips == 1 ? lane % kStrip : lane;
    const uint32_t drawn = kept_bits(dropout, first + row * T, kColumns * kFragment);
#pragma unroll
    for (int strip = 0; strip < kStrips; ++strip) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        at[strip][half] =
            __shfl_sync(kAllLanes, drawn, strip * kStrip + row_of(2 * half)) >> column_of(0);
      }
    }
  }
  // The same where row r belongs to key r and column c to query c.
  __device__ void draw_rows_of_keys(const DropoutMask& dropout, int64_t first, int64_t T) {
    const int lane = lane_of_warp();
    const int64_t column_of_lane = lane % (kColumns * kFragment);
    const uint32_t drawn = kept_bits(dropout, first + column_of_lane * T, kStrips * kStrip);
#pragma unroll
    for (int strip = 0; strip < kStrips; ++strip) at[strip][0] = at[strip][1] = 0;
#pragma unroll
    for (int column = 0; column < kColumns; ++column) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const uint32_t rows = __shfl_sync(kAllLanes, drawn, column * kFragment + column_of(i));
#pragma unroll
        for (int strip = 0; strip < kStrips; ++strip) {
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            const uint32_t bit = rows >> (strip * kStrip + row_of(2 * half)) & 1;
            at[strip][half] |= bit << (column * kFragment + i);
          }
        }
      }
    }
  }
  __device__ bool keeps(int strip, int column, int i) const {
    return (at[strip][i / 2] >> (column * kFragment + i % 2) & 1) != 0;
  }
};

}  // namespace leasehold::cuda
