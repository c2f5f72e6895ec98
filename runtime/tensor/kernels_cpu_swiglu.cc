#include <algorithm>

#include "runtime/tensor/kernels_cpu.h"
#include "runtime/tensor/kernels_cpu_elements.h"
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

template <typename E>
void run(ThreadPool& pool, const SwigluForward<E>& work) {
  for_each_piece(pool, work.N, work.F, [&](int64_t row, int64_t begin, int64_t end) {
    const E* gate = work.gate_up + row * 2 * work.F;
    const E* up = gate + work.F;
    E* y = work.y + row * work.F;
#pragma GCC ivdep
    for (int64_t i = begin; i < end; ++i) y[i] = rounded<E>(silu(load(gate[i])) * load(up[i]));
  });
}

template <typename E>
void run(ThreadPool& pool, const SwigluBackward<E>& work) {
  for_each_piece(pool, work.N, work.F, [&](int64_t row, int64_t begin, int64_t end) {
    const E* gate = work.gate_up + row * 2 * work.F;
    const E* up = gate + work.F;
    const E* dy = work.dy + row * work.F;
    E* dgate = work.dgate_up + row * 2 * work.F;
    E* dup = dgate + work.F;
#pragma GCC ivdep
    for (int64_t i = begin; i < end; ++i) {
      const float of_gate = load(dy[i]) * load(up[i]) * silu_derivative(load(gate[i]));
      const float of_up = load(dy[i]) * silu(load(gate[i]));
      dgate[i] = rounded<E>(of_gate);
      dup[i] = rounded<E>(of_up);
    }
  });
}

template void run(ThreadPool& pool, const SwigluForward<float>& work);
template void run(ThreadPool& pool, const SwigluForward<Bf16>& work);
template void run(ThreadPool& pool, const SwigluBackward<float>& work);
template void run(ThreadPool& pool, const SwigluBackward<Bf16>& work);

}  // namespace leasehold::cpu
