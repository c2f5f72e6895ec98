// What the attention kernels share: where heads lie, tiles in shared memory, dropout's mask.
#pragma once

#include <cmath>

#include "runtime/tensor/cuda/attention.h"
#include "runtime/tensor/cuda/instructions.h"
#include "runtime/tensor/cuda/pack.h"

namespace leasehold::cuda {

// Shared memory that a block may take: two of those fit a multiprocessor from sm_90 on, one of
// sm_80, where most kernels take less.
constexpr int kMostSharedBytes = 100 * 1024;

// Elements from one position to the next in qkv (B, T, G, R + 2, D) and in out (B, T, H, D).
__host__ __device__ inline int64_t qkv_stride(const AttentionSizes& s) {
  return s.G * (s.R + 2) * s.D;
}
__host__ __device__ inline int64_t out_stride(const AttentionSizes& s) { return s.G * s.R * s.D; }

// One query head of one sequence (h of G R); position 0 of its vectors.
struct HeadPlace {
  int64_t b, h;

  __device__ int64_t query(const AttentionSizes& s) const { return slot(s, h % s.R); }
  __device__ int64_t key(const AttentionSizes& s) const { return slot(s, s.R); }
  __device__ int64_t value(const AttentionSizes& s) const { return slot(s, s.R + 1); }
  __device__ int64_t out(const AttentionSizes& s) const {
    return b * s.T * out_stride(s) + h * s.D;
  }
  __device__ int64_t statistic(const AttentionSizes& s) const {  // in (B, H, T)
    return (b * s.G * s.R + h) * s.T;
  }
  // Element of the probabilities (B, all_heads, T, T) for query 0 and key 0.
  __device__ int64_t probability(const AttentionSizes& s) const {
    return (b * s.all_heads + s.first_head + h) * s.T * s.T;
  }

 private:
  __device__ int64_t slot(const AttentionSizes& s, int64_t index) const {
    return b * s.T * qkv_stride(s) + (h / s.R * (s.R + 2) + index) * s.D;
  }
};

// Of (B, H).
__device__ inline HeadPlace head_at(const AttentionSizes& s, int64_t index) {
  return {index / (s.G * s.R), index % (s.G * s.R)};
}

// 1 / sqrt(D), and the same for exponents of 2.
inline float attention_scale(const AttentionSizes& s) {
  return static_cast<float>(1.0 / std::sqrt(static_cast<double>(s.D)));
}
inline float attention_scale_log2(const AttentionSizes& s) {
  return static_cast<float>(1.4426950408889634074 / std::sqrt(static_cast<double>(s.D)));
}
constexpr float kLog2e = 1.44269504088896340736F;

// to - from, within [-limit, limit]: beyond a tile it makes no difference how far.
__device__ inline int distance(int64_t from, int64_t to, int limit) {
  const int64_t ahead = to - from;
  if (ahead > limit) return limit;
  return ahead < -limit ? -limit : static_cast<int>(ahead);
}

// Vectors of a head at consecutive positions in global memory.
template <typename T>
struct Vectors {
  T* first;
  int64_t stride;  // elements from one position to the next
  int64_t count;   // positions that exist from `first` on
  int channels;    // D
  bool aligned;    // rows consist of aligned words of 16 bytes
};

// From a position on: of qkv or dqkv, `offset` being the head's; and of out or dout.
template <typename T>
__device__ inline Vectors<T> vectors_in(const AttentionSizes& s, T* qkv, int64_t offset,
                                        int64_t position, bool aligned) {
  const int64_t stride = qkv_stride(s);
  return {qkv + offset + position * stride, stride, s.T - position, static_cast<int>(s.D), aligned};
}
template <typename T>
__device__ inline Vectors<T> out_vectors_in(const AttentionSizes& s, T* out, const HeadPlace& head,
                                            int64_t position, bool aligned) {
  const int64_t stride = out_stride(s);
  return {out + head.out(s) + position * stride, stride, s.T - position, static_cast<int>(s.D),
          aligned};
}

// A tile of kRows vectors of kChannels channels in shared memory. Rows are 16 bytes longer than
// needed, so that neighbouring rows lie in other banks.
template <typename T, int kRows, int kChannels>
struct Tile {
  static constexpr int kLd = kChannels + kPack<T>;
  static constexpr int kElements = kRows * kLd;
  static constexpr int kBytes = kElements * static_cast<int>(sizeof(T));
};

// f(offset in global memory, offset in the tile, exists) for this thread's words of 16 bytes of a
// tile. Neighbours share a row, such that a thread's words differ by constant steps.
template <int kRows, int kChannels, int kThreads, typename T, typename F>
__device__ inline void for_each_word(const Vectors<const T>& vectors, F&& f) {
  constexpr int kLd = Tile<T, kRows, kChannels>::kLd;
  constexpr int kWords = kChannels / kPack<T>, kLanes = kWords & -kWords;
  constexpr int kRowStep = kThreads / kLanes, kRowTurns = kRows / kRowStep;
  static_assert(kRowTurns * kRowStep == kRows);
  const int first_row = static_cast<int>(threadIdx.x) / kLanes;
  const int first_channel = static_cast<int>(threadIdx.x) % kLanes * kPack<T>;
  const T* from = vectors.first + first_row * vectors.stride + first_channel;
#pragma unroll
  for (int turn = 0; turn < kRowTurns; ++turn) {
    const int row = turn * kRowStep;
#pragma unroll
    for (int word = 0; word < kWords / kLanes; ++word) {
      const int channel = word * kLanes * kPack<T>;
      f(from + channel, (first_row + row) * kLd + first_channel + channel,
        first_row + row < vectors.count && first_channel + channel < vectors.channels);
    }
    from += kRowStep * vectors.stride;
  }
}

// load_tile where words of 16 bytes are not aligned.
template <int kRows, int kChannels, int kThreads, typename T>
__device__ inline void load_elements(const Vectors<const T>& vectors, T* tile) {
#pragma unroll 1
  for (int i = static_cast<int>(threadIdx.x); i < kRows * kChannels; i += kThreads) {
    const int row = i / kChannels, channel = i % kChannels;
    const bool exists = row < vectors.count && channel < vectors.channels;
    tile[row * Tile<T, kRows, kChannels>::kLd + channel] =
        exists ? vectors.first[row * vectors.stride + channel] : T(0.0F);
  }
}

// tile = vectors; zero in rows and channels that do not exist. All kThreads of the block call it.
template <int kRows, int kChannels, int kThreads, typename T>
__device__ inline void load_tile(const Vectors<const T>& vectors, T* tile) {
  if (!vectors.aligned) return load_elements<kRows, kChannels, kThreads>(vectors, tile);
  uint4 words[kRows * kChannels / kPack<T> / kThreads];
  int loaded = 0;
  for_each_word<kRows, kChannels, kThreads>(vectors, [&](const T* from, int, bool exists) {
    words[loaded++] = exists ? __ldg(reinterpret_cast<const uint4*>(from)) : uint4{0, 0, 0, 0};
  });
  int stored = 0;
  for_each_word<kRows, kChannels, kThreads>(vectors, [&](const T*, int to, bool) {
    *reinterpret_cast<uint4*>(tile + to) = words[stored++];
  });
}

// Begins the same; it is there behind wait_for_copies() of every thread and a barrier.
template <int kRows, int kChannels, int kThreads, typename T>
__device__ inline void begin_tile(const Vectors<const T>& vectors, T* tile) {
  if (!vectors.aligned) return load_elements<kRows, kChannels, kThreads>(vectors, tile);
  for_each_word<kRows, kChannels, kThreads>(vectors, [&](const T* from, int to, bool exists) {
    begin_copy<16>(tile + to, exists ? from : vectors.first, exists);
  });
}

// The reverse, of what exists, from rows ld apart. Threads 0 .. kThreads - 1 share the work.
template <int kRows, int kChannels, int kThreads, typename T>
__device__ inline void store_tile(const T* tile, int ld, const Vectors<T>& vectors, int thread) {
  const int rows = vectors.count < kRows ? static_cast<int>(vectors.count) : kRows;
  if (vectors.aligned) {
    constexpr int kWords = kChannels / kPack<T>;
    for (int i = thread; i < rows * kWords; i += kThreads) {
      const int row = i / kWords, channel = i % kWords * kPack<T>;
      if (channel < vectors.channels) {
        *reinterpret_cast<uint4*>(vectors.first + row * vectors.stride + channel) =
            *reinterpret_cast<const uint4*>(tile + row * ld + channel);
      }
    }
  } else {
#pragma unroll 1
    for (int i = thread; i < rows * kChannels; i += kThreads) {
      const int row = i / kChannels, channel = i % kChannels;
      if (channel < vectors.channels)
        vectors.first[row * vectors.stride + channel] = tile[row * ld + channel];
    }
  }
}

// Bit j: element first + j of the probabilities is kept, j < count <= 32. Nine blocks of random
// numbers where 32 elements begin anywhere.
__device__ inline uint32_t kept_bits(const DropoutMask& dropout, int64_t first, int count) {
  const auto element = static_cast<uint64_t>(dropout.first_element + first);
  const int skipped = static_cast<int>(element % 4);
  uint64_t bits = 0;
#pragma unroll 1
  for (int i = 0; i < skipped + count; i += 4) {
    const RandomWords words = dropout.block(element / 4 + static_cast<uint64_t>(i / 4));
#pragma unroll
    for (int j = 0; j < 4; ++j)
      bits |= static_cast<uint64_t>(dropout.factor_of(words.word[j]) != 0) << (i + j);
  }
  return static_cast<uint32_t>(bits >> skipped);
}

// f(integral constant) with the least of the listed widths, ascending, that is at least `channels`,
// or with the last.
template <int kWidth, int... kWidths, typename F>
void with_padded_channels(int64_t channels, F&& f) {
  if constexpr (sizeof...(kWidths) == 0) {
    f(std::integral_constant<int, kWidth>{});
  } else if (channels <= kWidth) {
    f(std::integral_constant<int, kWidth>{});
  } else {
    with_padded_channels<kWidths...>(channels, f);
  }
}

}  // namespace leasehold::cuda
