#include <algorithm>

#include "runtime/tensor/kernels_cpu.h"
#include "runtime/tensor/kernels_cpu_math.h"

namespace leasehold::cpu {

namespace {

// body(row, begin, end) for pieces of the rows' F channels, on the pool.
template <typename Body>
void for_each_piece(ThreadPool& pool, int64_t N, int64_t F, Body&& body) {
  constexpr int64_t kPiece = 8192;
  const int64_t pieces = (F + kPiece - 1) / kPiece;
  const int64_t task_pieces =
      std::max<int64_t>(1, kPiece / F);  // of several rows, if they are short
  pool.run((N * pieces + task_pieces - 1) / task_pieces, [&](int64_t task, int) {
    const int64_t end = std::min((task + 1) * task_pieces, N * pieces);
    for (int64_t piece = task * task_pieces; piece < end; ++piece) {
      const int64_t begin = piece % pieces * kPiece;
      body(piece / pieces, begin, std::min(begin + kPiece, F));
    }
  });
}

}  // namespace

void run(ThreadPool& pool, const SwigluForward& work) {
  for_each_piece(pool, work.N, work.F, [&](int64_t row, int64_t begin, int64_t end) {
    const float* gate = work.gate_up + row * 2 * work.F;
    const float* up = gate + work.F;
    float* y = work.y + row * work.F;
#pragma GCC ivdep
    for (int64_t i = begin; i < end; ++i) y[i] = silu(gate[i]) * up[i];
  });
}

void run(ThreadPool& pool, const SwigluBackward& work) {
  for_each_piece(pool, work.N, work.F, [&](int64_t row, int64_t begin, int64_t end) {
    const float* gate = work.gate_up + row * 2 * work.F;
    const float* up = gate + work.F;
    const float* dy = work.dy + row * work.F;
    float* dgate = work.dgate_up + row * 2 * work.F;
    float* dup = dgate + work.F;
#pragma GCC ivdep
    for (int64_t i = begin; i < end; ++i) {
      const float of_gate = dy[i] * up[i] * silu_derivative(gate[i]);
      const float of_up = dy[i] * silu(gate[i]);
      dgate[i] = of_gate;
      dup[i] = of_up;
    }
  });
}

}  // namespace leasehold::cpu
