#include <algorithm>
#include <cmath>

#include "runtime/tensor/kernels_cpu.h"
#include "runtime/tensor/kernels_cpu_attention.h"
#include "runtime/tensor/kernels_cpu_elements.h"

namespace leasehold::cpu {

namespace {

// A task turns this many pairs of every head at this many positions, in all sequences: frequencies
// are formed once a task, angles once a position.
constexpr int64_t kPairs = 128;
constexpr int64_t kPositions = 16;

// Turns pairs [begin, begin + count) of one head at one position.
template <typename E>
void turn(E* head, int64_t half, int64_t begin, int64_t count, const float* cosines,
          const float* sines) {
  E* low = head + begin;
  E* high = head + half + begin;
#pragma GCC ivdep
  for (int64_t i = 0; i < count; ++i) {
    const float x = load(low[i]);
    const float y = load(high[i]);
    low[i] = rounded<E>(x * cosines[i] - y * sines[i]);
    high[i] = rounded<E>(x * sines[i] + y * cosines[i]);
  }
}

// Position t of every sequence.
template <typename E>
void turn_position(const RotaryTurn<E>& work, int64_t t, int64_t begin, int64_t count,
                   const double* frequencies) {
  const AttentionShape& shape = work.shape;
  float cosines[kPairs];
  float sines[kPairs];
  for (int64_t i = 0; i < count; ++i) {
    const double angle = static_cast<double>(shape.first_position + t) * frequencies[i];
    cosines[i] = static_cast<float>(std::cos(angle));
    const auto sine = static_cast<float>(std::sin(angle));
    sines[i] = work.backward ? -sine : sine;
  }
  for (int64_t b = 0; b < shape.B; ++b) {
    E* position = work.qkv + (b * shape.T + t) * qkv_stride(shape);
    for (int64_t g = 0; g < shape.G; ++g) {
      for (int64_t slot = 0; slot <= shape.R; ++slot) {  // queries, then the key
        E* head = position + (g * (shape.R + 2) + slot) * shape.D;
        turn(head, shape.D / 2, begin, count, cosines, sines);
      }
    }
  }
}

}  // namespace

template <typename E>
void run(ThreadPool& pool, const RotaryTurn<E>& work) {
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

template void run(ThreadPool& pool, const RotaryTurn<float>& work);
template void run(ThreadPool& pool, const RotaryTurn<Bf16>& work);

}  // namespace leasehold::cpu
