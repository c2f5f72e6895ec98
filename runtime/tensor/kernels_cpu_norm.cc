#include "runtime/tensor/kernels_cpu_norm.h"

#include "runtime/tensor/kernels_cpu_math.h"

namespace leasehold::cpu {

namespace {

template <typename E>
void normalize_row(const LayerNormForward<E>& work, int64_t row) {
  const E* input = add_residual(work, row);
  const auto count = static_cast<float>(work.C);
  const float mean = lane_sum<float>(work.C, [&](int64_t i) { return load(input[i]); }) / count;
  const float variance = lane_sum<float>(work.C,
                                         [&](int64_t i) {
                                           const float difference = load(input[i]) - mean;
                                           return difference * difference;
                                         }) /
                         count;
  const float rstd = 1.0F / std::sqrt(variance + work.eps);
  E* y = work.y + row * work.C;
#pragma GCC ivdep
  for (int64_t i = 0; i < work.C; ++i)
    y[i] = rounded<E>((load(input[i]) - mean) * rstd * load(work.weight[i]) + load(work.bias[i]));
  work.mean[row] = mean;
  work.rstd[row] = rstd;
}

// dx of one row, and the row's shares of dweight and dbias added to the sums. With n the normalised
// row and h = dy weight: dx = rstd (h - mean(h) - n mean(h n)).
template <typename E>
void backward_row(const LayerNormBackward<E>& work, int64_t row, float* dweight_sum,
                  float* dbias_sum) {
  const E* dy = work.dy + row * work.C;
  const E* input = work.input + row * work.C;
  const E* weight = work.weight;
  const float mean = work.mean[row];
  const float rstd = work.rstd[row];
  const auto count = static_cast<float>(work.C);
  const float mean_h =
      lane_sum<float>(work.C, [&](int64_t i) { return load(dy[i]) * load(weight[i]); }) / count;
  const float mean_hn =
      lane_sum<float>(work.C,
                      [&](int64_t i) {
                        return load(dy[i]) * load(weight[i]) * ((load(input[i]) - mean) * rstd);
                      }) /
      count;
#pragma GCC ivdep
  for (int64_t i = 0; i < work.C; ++i) {
    dweight_sum[i] += load(dy[i]) * ((load(input[i]) - mean) * rstd);
    dbias_sum[i] += load(dy[i]);
  }
  E* dx = work.dx + row * work.C;
  if (work.dresidual == nullptr) {
#pragma GCC ivdep
    for (int64_t i = 0; i < work.C; ++i) {
      dx[i] = rounded<E>(rstd * (load(dy[i]) * load(weight[i]) - mean_h -
                                 (load(input[i]) - mean) * rstd * mean_hn));
    }
  } else {
    const E* dresidual = work.dresidual + row * work.C;
#pragma GCC ivdep
    for (int64_t i = 0; i < work.C; ++i) {
      dx[i] = rounded<E>(load(dresidual[i]) + rstd * (load(dy[i]) * load(weight[i]) - mean_h -
                                                      (load(input[i]) - mean) * rstd * mean_hn));
    }
  }
}

}  // namespace

template <typename E>
void run(ThreadPool& pool, const LayerNormForward<E>& work) {
  const int64_t task_rows = norm_task_rows(work.C);
  pool.run((work.N + task_rows - 1) / task_rows, [&](int64_t task, int) {
    const int64_t end = std::min((task + 1) * task_rows, work.N);
    for (int64_t row = task * task_rows; row < end; ++row) normalize_row(work, row);
  });
}

int64_t layer_norm_backward_workspace_bytes(int64_t N, int64_t C) {
  return num_norm_blocks(N) * 2 * C * static_cast<int64_t>(sizeof(float));
}

template <typename E>
void run(ThreadPool& pool, const LayerNormBackward<E>& work) {
  const int64_t C = work.C;
  sum_over_rows(
      pool, work.N, 2 * C, work.workspace,
      [&](int64_t row, float* sums) { backward_row(work, row, sums, sums + C); },
      [&](int64_t i, float total) {
        float* out = i < C ? work.dweight + i : work.dbias + (i - C);
        *out = work.write == Write::kAccumulate ? *out + total : total;
      });
}

template void run(ThreadPool& pool, const LayerNormForward<float>& work);
template void run(ThreadPool& pool, const LayerNormForward<Bf16>& work);
template void run(ThreadPool& pool, const LayerNormBackward<float>& work);
template void run(ThreadPool& pool, const LayerNormBackward<Bf16>& work);

}  // namespace leasehold::cpu
