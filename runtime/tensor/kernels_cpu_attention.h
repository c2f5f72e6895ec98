// What attention's forward and backward share: blocks of queries against all keys up to the block's
// end, one block per task, so that a worker's scratch grows with T and not with T^2.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "runtime/tensor/kernels.h"

namespace leasehold::cpu {

constexpr int64_t kQueryRows = 64;  // queries in a block

inline int64_t num_query_blocks(const AttentionShape& shape) {
  return (shape.T + kQueryRows - 1) / kQueryRows;
}
// Elements from one position to the next in qkv (B, T, G, R + 2, D) and in out (B, T, H, D).
inline int64_t qkv_stride(const AttentionShape& shape) { return shape.G * (shape.R + 2) * shape.D; }
inline int64_t out_stride(const AttentionShape& shape) { return shape.H() * shape.D; }
// Floats from one query to the next in scratch scores; the 16 keep rows off the same cache sets.
inline int64_t score_stride(const AttentionShape& shape) { return (shape.T + 15) / 16 * 16 + 16; }
inline float attention_scale(const AttentionShape& shape) {
  return static_cast<float>(1.0 / std::sqrt(static_cast<double>(shape.D)));
}

// One query head of one sequence: offsets of its position 0.
struct Head {
  int64_t b, g, r;
  int64_t index(const AttentionShape& shape) const {
    return b * shape.H() + g * shape.R + r;
  }  // in (B, H)
  int64_t query_offset(const AttentionShape& shape) const {
    return slot_offset(shape, r);
  }  // in qkv
  int64_t key_offset(const AttentionShape& shape) const { return slot_offset(shape, shape.R); }
  int64_t value_offset(const AttentionShape& shape) const {
    return slot_offset(shape, shape.R + 1);
  }
  int64_t out_offset(const AttentionShape& shape) const {
    return b * shape.T * out_stride(shape) + (g * shape.R + r) * shape.D;
  }

 private:
  int64_t slot_offset(const AttentionShape& shape, int64_t slot) const {
    return b * shape.T * qkv_stride(shape) + (g * (shape.R + 2) + slot) * shape.D;
  }
};

// Queries [first, first + rows), which see keys [0, keys).
struct QueryBlock {
  int64_t first, rows, keys;
};
inline QueryBlock query_block(const AttentionShape& shape, int64_t index) {
  const int64_t first = index * kQueryRows;
  const int64_t rows = std::min(kQueryRows, shape.T - first);
  return {first, rows, first + rows};
}

// Element of the probabilities of all heads (B, all_heads, T, T) where dropout's row of `query`
// begins.
inline int64_t dropout_row(const AttentionShape& shape, const Head& head, int64_t query) {
  const int64_t all_heads = shape.all_heads == 0 ? shape.H() : shape.all_heads;
  const int64_t index = head.b * all_heads + shape.first_head + head.g * shape.R + head.r;
  return (index * shape.T + query) * shape.T;
}

}  // namespace leasehold::cpu
