#include <algorithm>
#include <cmath>

#include "runtime/tensor/kernels_cpu.h"
#include "runtime/tensor/kernels_cpu_attention.h"

namespace leasehold::cpu {

namespace {

// A task turns this many pairs of every head at this many positions, in all sequences: frequencies
// are formed once a task, angles once a position.
constexpr int64_t kPairs = 128;
constexpr int64_t kPositions = 16;

// Turns pairs [begin, begin + count) of one head at one position.
void turn(float* head, int64_t half, int64_t begin, int64_t count, const float* cosines,
          const float* sines) {
  float* low = head + begin;
  float* high = head + half + begin;
#pragma GCC ivdep
  for (int64_t i = 0; i < count; ++i) {
    const float x = low[i];
    const float y = high[i];
    low[i] = x * cosines[i] - y * sines[i];
    high[i] = x * sines[i] + y * cosines[i];
  }
}

// Position t of every sequence.
void turn_position(const RotaryTurn& work, int64_t t, int64_t begin, int64_t count,
                   const double* frequencies) {
  const AttentionShape& shape = work.shape;
  float cosines[kPairs];
  float sines[kPairs];
  for (int64_t i = 0; i < count; ++i) {
    const double angle = static_cast<double>(t) * frequencies[i];
    cosines[i] = static_cast<float>(std::cos(angle));
    const auto sine = static_cast<float>(std::sin(angle));
    sines[i] = work.backward ? -sine : sine;
  }
  for (int64_t b = 0; b < shape.B; ++b) {
    float* position = work.qkv + (b * shape.T + t) * qkv_stride(shape);
    for (int64_t g = 0; g < shape.G; ++g) {
      for (int64_t slot = 0; slot <= shape.R; ++slot) {  // queries, then the key
        float* head = position + (g * (shape.R + 2) + slot) * shape.D;
        turn(head, shape.D / 2, begin, count, cosines, sines);
      }
    }
  }
}

}  // namespace

void run(ThreadPool& pool, const RotaryTurn& work) {
  const AttentionShape& shape = work.shape;
  const int64_t half = shape.D / 2;
  const int64_t strips = (half + kPairs - 1) / kPairs;
  const int64_t groups = (shape.T + kPositions - 1) / kPositions;
  pool.run(groups * strips, [&](int64_t task, int) {
    const int64_t begin = task % strips * kPairs;
    const int64_t count = std::min(kPairs, half - begin);
    double frequencies[kPairs];
    for (int64_t i = 0; i < count; ++i) frequencies[i] = work.rotary.frequency(begin + i, shape.D);
    const int64_t first = task / strips * kPositions;
    for (int64_t t = first; t < std::min(first + kPositions, shape.T); ++t)
      turn_position(work, t, begin, count, frequencies);
  });
}

}  // namespace leasehold::cpu
