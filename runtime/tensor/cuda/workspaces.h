// How much workspace the kernels want, and how those that use one cut their work: of shapes alone,
// never of the part. Plain C++ of the host, also for builds without CUDA, because what a GPU will
// need is forecast where there is none.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

namespace leasehold::cuda {

constexpr int kWarp = 32;

// Parts of `part` elements that cover `total`, the last one perhaps shorter.
inline int64_t count_parts(int64_t total, int64_t part) { return (total + part - 1) / part; }

// The threads of a block that walks over rows of `num_packs` packs: as few turns as `most` threads
// make possible, evenly filled.
inline unsigned row_threads(int64_t num_packs, int64_t most) {
  const int64_t turns = num_packs == 0 ? 1 : count_parts(num_packs, most);
  const int64_t threads = count_parts(count_parts(num_packs, turns), kWarp) * kWarp;
  return static_cast<unsigned>(std::max<int64_t>(threads, kWarp));
}

// Of a block of norm_backward.
constexpr int kMostNormThreads = 512;

// The rows that one block of norm_backward walks over: at least 8, and about 128 Ki threads in all.
inline int64_t norm_group_rows(int64_t N, int64_t C) {
  constexpr int64_t kThreads = 128 << 10;
  const int64_t groups =
      std::min(N / 8, kThreads / row_threads(count_parts(C, 8), kMostNormThreads));
  return count_parts(N, std::max<int64_t>(1, groups));
}

// The sums of each group for the gradient of the gain and, where there is one, of the bias: float
// (groups, 1 or 2, C).
inline int64_t norm_backward_workspace_bytes(int64_t N, int64_t C, bool has_bias) {
  if (N == 0) return 0;
  return count_parts(N, norm_group_rows(N, C)) * (has_bias ? 2 : 1) * C *
         static_cast<int64_t>(sizeof(float));
}

// A token in its bucket of embedding_backward.
struct TokenEntry {
  int32_t row;    // of the table
  int32_t token;  // its place in (B, T)
};

// A power of two.
inline int64_t num_token_buckets(int64_t N) {
  constexpr int64_t kTokens = 64, kMost = 512;
  return static_cast<int64_t>(
      std::bit_floor(static_cast<uint64_t>(std::clamp<int64_t>(N / kTokens, 1, kMost))));
}

// Where each bucket begins, and where the last one ends, as int32_t; entries are aligned behind.
inline int64_t token_begins_bytes(int64_t N) {
  return count_parts((num_token_buckets(N) + 1) * static_cast<int64_t>(sizeof(int32_t)), 16) * 16;
}

inline int64_t embedding_backward_workspace_bytes(int64_t N) {
  return token_begins_bytes(N) + N * static_cast<int64_t>(sizeof(TokenEntry));
}

// Backward's rowsum(dout out) of every query, float (B, H, T). Forward needs none.
inline int64_t attention_workspace_bytes(int64_t B, int64_t H, int64_t T) {
  return B * H * T * static_cast<int64_t>(sizeof(float));
}

// The rows' losses, double (N).
inline int64_t cross_entropy_workspace_bytes(int64_t N) {
  return N * static_cast<int64_t>(sizeof(double));
}

}  // namespace leasehold::cuda
