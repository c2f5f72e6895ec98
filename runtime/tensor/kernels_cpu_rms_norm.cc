#include "runtime/tensor/kernels_cpu_math.h"
#include "runtime/tensor/kernels_cpu_norm.h"

namespace leasehold::cpu {

namespace {

template <typename E>
void normalize_row(const RmsNormForward<E>& work, int64_t row) {
  const E* input = add_residual(work, row);
  const auto count = static_cast<float>(work.C);
  const float mean_square =
      lane_sum<float>(work.C, [&](int64_t i) { return load(input[i]) * load(input[i]); }) / count;
  const float rstd = 1.0F / std::sqrt(mean_square + work.eps);
  E* y = work.y + row * work.C;
#pragma GCC ivdep
  for (int64_t i = 0; i < work.C; ++i)
    y[i] = rounded<E>(load(input[i]) * rstd * load(work.weight[i]));
  work.rstd[row] = rstd;
}

// dx of one row, and the row's share of dweight added to the sum. With n the normalised row and h =
// dy weight: dx = rstd (h - n mean(h n)).
template <typename E>
void backward_row(const RmsNormBackward<E>& work, int64_t row, float* dweight_sum) {
  const E* dy = work.dy + row * work.C;
  const E* input = work.input + row * work.C;
  const E* weight = work.weight;
  const float rstd = work.rstd[row];
  const float mean_hn =
      lane_sum<float>(
          work.C,
          [&](int64_t i) { return load(dy[i]) * load(weight[i]) * (load(input[i]) * rstd); }) /
      static_cast<float>(work.C);
#pragma GCC ivdep
  for (int64_t i = 0; i < work.C; ++i) dweight_sum[i] += load(dy[i]) * (load(input[i]) * rstd);
  E* dx = work.dx + row * work.C;
  if (work.dresidual == nullptr) {
#pragma GCC ivdep
    for (int64_t i = 0; i < work.C; ++i)
      dx[i] = rounded<E>(rstd * (load(dy[i]) * load(weight[i]) - load(input[i]) * rstd * mean_hn));
  } else {
    const E* dresidual = work.dresidual + row * work.C;
#pragma GCC ivdep
    for (int64_t i = 0; i < work.C; ++i)
      dx[i] = rounded<E>(load(dresidual[i]) +
                         rstd * (load(dy[i]) * load(weight[i]) - load(input[i]) * rstd * mean_hn));
  }
}

}  // namespace

template <typename E>
void run(ThreadPool& pool, const RmsNormForward<E>& work) {
  const int64_t task_rows = norm_task_rows(work.C);
  pool.run((work.N + task_rows - 1) / task_rows, [&](int64_t task, int) {
    const int64_t end = std::min((task + 1) * task_rows, work.N);
    for (int64_t row = task * task_rows; row < end; ++row) normalize_row(work, row);
  });
}

int64_t rms_norm_backward_workspace_bytes(int64_t N, int64_t C) {
  return num_norm_blocks(N) * C * static_cast<int64_t>(sizeof(float));
}

template <typename E>
void run(ThreadPool& pool, const RmsNormBackward<E>& work) {
  sum_over_rows(
      pool, work.N, work.C, work.workspace,
      [&](int64_t row, float* sum) { backward_row(work, row, sum); },
      [&](int64_t i, float total) {
        float* out = work.dweight + i;
        *out = work.write == Write::kAccumulate ? *out + total : total;
      });
}

template void run(ThreadPool& pool, const RmsNormForward<float>& work);
template void run(ThreadPool& pool, const RmsNormForward<Bf16>& work);
template void run(ThreadPool& pool, const RmsNormBackward<float>& work);
template void run(ThreadPool& pool, const RmsNormBackward<Bf16>& work);

}  // namespace leasehold::cpu
