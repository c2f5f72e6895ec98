// What the linears of either element type share.
#pragma once

#include <algorithm>
#include <cstdint>

#include "runtime/tensor/kernels_cpu.h"
#include "runtime/tensor/kernels_cpu_elements.h"

namespace leasehold::cpu {

// dbias over the columns [begin, begin + count) of dy (N, O): groups of kGroupRows rows, each
// summed in ascending order, added in ascending order.
template <typename E>
void sum_columns(const LinearBackwardWeight<E>& work, int64_t begin, int64_t count) {
  constexpr int64_t kGroupRows = 32;
  constexpr int64_t kStrip = 64;
  for (int64_t first = begin; first < begin + count; first += kStrip) {
    const int64_t width = std::min(kStrip, begin + count - first);
    float total[kStrip] = {};
    for (int64_t group = 0; group < work.N; group += kGroupRows) {
      float sum[kStrip] = {};
      for (int64_t row = group; row < std::min(group + kGroupRows, work.N); ++row) {
        const E* dy = work.dy + row * work.O + first;
        if (width == kStrip) {
          for (int64_t i = 0; i < kStrip; ++i) sum[i] += load(dy[i]);
        } else {
          for (int64_t i = 0; i < width; ++i) sum[i] += load(dy[i]);
        }
      }
      for (int64_t i = 0; i < kStrip; ++i) total[i] += sum[i];
    }
    float* dbias = work.dbias + first;
    for (int64_t i = 0; i < width; ++i)
      dbias[i] = work.write == Write::kAccumulate ? dbias[i] + total[i] : total[i];
  }
}

}  // namespace leasehold::cpu
