// Products of tiles by fp32 fused multiply-adds, for the attention kernels. A block's 256 threads
// are a square of 16 x 16; a warp has two of its rows. Of a product, thread (y, x) has rows y + 16
// i and columns x + 16 j, so that half a warp has whole rows.
#pragma once

#include "runtime/tensor/cuda/attention_tiles.h"
#include "runtime/tensor/cuda/rows.h"

namespace leasehold::cuda {

constexpr int kSide = 16;
constexpr int kScalarThreads = kSide * kSide;

__device__ inline int row_at(int i) { return static_cast<int>(threadIdx.x) / kSide + kSide * i; }
__device__ inline int column_at(int j) { return static_cast<int>(threadIdx.x) % kSide + kSide * j; }

// Channels of a row that a thread sums: kGroups groups of kWidth neighbours.
template <int kChannels>
struct ChannelsOfThread {
  static constexpr int kWidth = kChannels % (4 * kSide) == 0 ? 4 : 2;
  static constexpr int kGroups = kChannels / kSide / kWidth;
  __device__ static int first(int group) {
    return (static_cast<int>(threadIdx.x) % kSide + kSide * group) * kWidth;
  }
};

template <int kRows, int kColumns>
struct ScalarScores {
  float at[kRows][kColumns];
};

template <int kRows, int kChannels>
struct ScalarSums {
  using Channels = ChannelsOfThread<kChannels>;
  float at[kRows][Channels::kGroups][Channels::kWidth];

  __device__ void clear() {
#pragma unroll
    for (auto& row : at) {
#pragma unroll
      for (auto& group : row) {
#pragma unroll
        for (float& value : group) value = 0;
      }
    }
  }
};

// scores = left right^T, rows of kChannels in shared memory.
template <int kChannels, int kRows, int kColumns>
__device__ inline void multiply_rows(const float* left, const float* right,
                                     ScalarScores<kRows, kColumns>& scores) {
  constexpr int kLd = kChannels + kPack<float>;
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
#pragma unroll
    for (int j = 0; j < kColumns; ++j) scores.at[i][j] = 0;
  }
#pragma unroll 1
  for (int channel = 0; channel < kChannels; channel += 4) {
    float4 rows[kRows];
#pragma unroll
    for (int i = 0; i < kRows; ++i)
      rows[i] = *reinterpret_cast<const float4*>(left + row_at(i) * kLd + channel);
#pragma unroll
    for (int j = 0; j < kColumns; ++j) {
      const float4 column = *reinterpret_cast<const float4*>(right + column_at(j) * kLd + channel);
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        float& sum = scores.at[i][j];
        sum = fmaf(rows[i].x, column.x, sum);
        sum = fmaf(rows[i].y, column.y, sum);
        sum = fmaf(rows[i].z, column.z, sum);
        sum = fmaf(rows[i].w, column.w, sum);
      }
    }
  }
}

// Scores to shared memory, (16 kRows, 16 kColumns), for multiply_add_factors by the same warp.
template <int kColumns>
constexpr int kFactorsLd = kSide* kColumns + 4;
template <int kRows, int kColumns>
__device__ inline void share(const ScalarScores<kRows, kColumns>& scores, float* factors) {
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
#pragma unroll
    for (int j = 0; j < kColumns; ++j)
      factors[row_at(i) * kFactorsLd<kColumns> + column_at(j)] = scores.at[i][j];
  }
}

// sums += factors right, for right (16 kColumns, kChannels).
template <int kColumns, int kRows, int kChannels>
__device__ inline void multiply_add_factors(const float* factors, const float* right,
                                            ScalarSums<kRows, kChannels>& sums) {
  constexpr int kLd = kChannels + kPack<float>;
  using Channels = ChannelsOfThread<kChannels>;
  using Group = std::conditional_t<Channels::kWidth == 4, float4, float2>;
#pragma unroll 2
  for (int depth = 0; depth < kSide * kColumns; ++depth) {
    float row[kRows];
#pragma unroll
    for (int i = 0; i < kRows; ++i) row[i] = factors[row_at(i) * kFactorsLd<kColumns> + depth];
#pragma unroll
    for (int group = 0; group < Channels::kGroups; ++group) {
      const Group loaded =
          *reinterpret_cast<const Group*>(right + depth * kLd + Channels::first(group));
      float values[Channels::kWidth];
      std::memcpy(values, &loaded, sizeof values);
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
#pragma unroll
        for (int k = 0; k < Channels::kWidth; ++k)
          sums.at[i][group][k] = fmaf(row[i], values[k], sums.at[i][group][k]);
      }
    }
  }
}

// sums times the factor of each row to where they belong; `to` begins at row 0.
template <int kRows, int kChannels>
__device__ inline void store_sums(const ScalarSums<kRows, kChannels>& sums,
                                  const float (&row_factors)[kRows], const Vectors<float>& to) {
  using Channels = ChannelsOfThread<kChannels>;
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    if (row_at(i) >= to.count) continue;
    float* row = to.first + row_at(i) * to.stride;
#pragma unroll
    for (int group = 0; group < Channels::kGroups; ++group) {
      const int channel = Channels::first(group);
      float values[Channels::kWidth];
#pragma unroll
      for (int k = 0; k < Channels::kWidth; ++k) values[k] = sums.at[i][group][k] * row_factors[i];
      const int left = to.channels - channel;
      if (to.aligned && left >= Channels::kWidth) {
        store<true>(row + channel, Channels::kWidth, values);
      } else {
        store<false>(row + channel, left, values);
      }
    }
  }
}

// One value per row, joined over the half warp that shares it.
template <typename Join>
__device__ inline float join_scalar_row(float value) {
#pragma unroll
  for (int distance = kSide / 2; distance > 0; distance /= 2)
    value = Join::join(value, __shfl_xor_sync(kAllLanes, value, distance));
  return value;
}

}  // namespace leasehold::cuda
