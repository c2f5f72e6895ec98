// What layer norm and RMS norm share: the residual addition in front, and how the gains' gradients
// are summed over rows.
#pragma once

#include <algorithm>
#include <cstdint>

#include "runtime/tensor/kernels_cpu.h"
#include "runtime/tensor/kernels_cpu_dropout.h"
#include "runtime/tensor/kernels_cpu_elements.h"

namespace leasehold::cpu {

inline int64_t norm_task_rows(int64_t C) {
  constexpr int64_t kTaskElements = 16384;
  return std::max<int64_t>(1, kTaskElements / C);
}

// The rows whose shares of the gains' gradients are summed alone: at most 64 blocks.
inline int64_t norm_block_rows(int64_t N) {
  constexpr int64_t kMostBlocks = 64;
  return std::max<int64_t>(16, (N + kMostBlocks - 1) / kMostBlocks);
}
inline int64_t num_norm_blocks(int64_t N) {
  return (N + norm_block_rows(N) - 1) / norm_block_rows(N);
}

// sum = x + delta (times factors), and what is then normalised.
template <typename E, template <typename> typename Forward>
const E* add_residual(const Forward<E>& work, int64_t row) {
  const E* x = work.x + row * work.C;
  if (work.delta == nullptr) return x;
  const E* delta = work.delta + row * work.C;
  E* sum = work.sum + row * work.C;
  for_each_dropout_piece(
      work.dropout, row * work.C, work.C, [&](int64_t begin, int64_t count, const float* factors) {
        if (factors == nullptr) {
#pragma GCC ivdep
          for (int64_t i = begin; i < begin + count; ++i)
            sum[i] = rounded<E>(load(x[i]) + load(delta[i]));
        } else {
#pragma GCC ivdep
          for (int64_t i = 0; i < count; ++i) {
            sum[begin + i] = rounded<E>(load(x[begin + i]) + load(delta[begin + i]) * factors[i]);
          }
        }
      });
  return sum;
}

// Gradients of `width` values that all rows share: row(row, sums) adds a row's shares to its
// block's sums (width); then put(i, total) of the blocks' sums, added in ascending order.
// workspace: num_norm_blocks(N) * width floats.
template <typename Row, typename Put>
void sum_over_rows(ThreadPool& pool, int64_t N, int64_t width, void* workspace, Row&& row,
                   Put&& put) {
  const int64_t rows = norm_block_rows(N);
  const int64_t num_blocks = num_norm_blocks(N);
  auto* sums = static_cast<float*>(workspace);  // (num_blocks, width)
  pool.run(num_blocks, [&](int64_t block, int) {
    float* block_sums = sums + block * width;
    std::fill_n(block_sums, width, 0.0F);
    const int64_t end = std::min((block + 1) * rows, N);
    for (int64_t i = block * rows; i < end; ++i) row(i, block_sums);
  });
  constexpr int64_t kStrip = 256;
  pool.run((width + kStrip - 1) / kStrip, [&](int64_t strip, int) {
    for (int64_t i = strip * kStrip; i < std::min((strip + 1) * kStrip, width); ++i) {
      float total = 0;
      for (int64_t block = 0; block < num_blocks; ++block) total += sums[block * width + i];
      put(i, total);
    }
  });
}

}  // namespace leasehold::cpu
