#include <algorithm>

#include "runtime/tensor/kernels_cpu.h"
#include "runtime/tensor/kernels_cpu_dropout.h"
#include "runtime/tensor/kernels_cpu_math.h"

namespace leasehold::cpu {

namespace {

constexpr float kEps = 1e-5F;
constexpr int64_t kTaskElements = 16384;

int64_t ceil_divide(int64_t value, int64_t divisor) { return (value + divisor - 1) / divisor; }

// The rows whose shares of dweight and dbias are summed alone: at most kMostBlocks blocks.
constexpr int64_t kMostBlocks = 64;
int64_t block_rows(int64_t N) { return std::max<int64_t>(16, ceil_divide(N, kMostBlocks)); }

// sum = x + delta (times factors), and what is then normalised.
const float* add_residual(const LayerNormForward& work, int64_t row) {
  const float* x = work.x + row * work.C;
  if (work.delta == nullptr) return x;
  const float* delta = work.delta + row * work.C;
  float* sum = work.sum + row * work.C;
  for_each_dropout_piece(work.dropout, row * work.C, work.C,
                         [&](int64_t begin, int64_t count, const float* factors) {
                           if (factors == nullptr) {
#pragma GCC ivdep
                             for (int64_t i = begin; i < begin + count; ++i)
                               sum[i] = x[i] + delta[i];
                           } else {
#pragma GCC ivdep
                             for (int64_t i = 0; i < count; ++i)
                               sum[begin + i] = x[begin + i] + delta[begin + i] * factors[i];
                           }
                         });
  return sum;
}

void normalize_row(const LayerNormForward& work, int64_t row) {
  const float* input = add_residual(work, row);
  const auto count = static_cast<float>(work.C);
  const float mean = lane_sum<float>(work.C, [&](int64_t i) { return input[i]; }) / count;
  const float variance = lane_sum<float>(work.C,
                                         [&](int64_t i) {
                                           const float difference = input[i] - mean;
                                           return difference * difference;
                                         }) /
                         count;
  const float rstd = 1.0F / std::sqrt(variance + kEps);
  float* y = work.y + row * work.C;
#pragma GCC ivdep
  for (int64_t i = 0; i < work.C; ++i)
    y[i] = (input[i] - mean) * rstd * work.weight[i] + work.bias[i];
  work.mean[row] = mean;
  work.rstd[row] = rstd;
}

// dx of one row, and the row's shares of dweight and dbias added to the sums. With n the normalised
// row and h = dy weight: dx = rstd (h - mean(h) - n mean(h n)).
void backward_row(const LayerNormBackward& work, int64_t row, float* dweight_sum,
                  float* dbias_sum) {
  const float* dy = work.dy + row * work.C;
  const float* input = work.input + row * work.C;
  const float* weight = work.weight;
  const float mean = work.mean[row];
  const float rstd = work.rstd[row];
  const auto count = static_cast<float>(work.C);
  const float mean_h =
      lane_sum<float>(work.C, [&](int64_t i) { return dy[i] * weight[i]; }) / count;
  const float mean_hn =
      lane_sum<float>(work.C,
                      [&](int64_t i) { return dy[i] * weight[i] * ((input[i] - mean) * rstd); }) /
      count;
#pragma GCC ivdep
  for (int64_t i = 0; i < work.C; ++i) {
    dweight_sum[i] += dy[i] * ((input[i] - mean) * rstd);
    dbias_sum[i] += dy[i];
  }
  float* dx = work.dx + row * work.C;
  if (work.dresidual == nullptr) {
#pragma GCC ivdep
    for (int64_t i = 0; i < work.C; ++i) {
      dx[i] = rstd * (dy[i] * weight[i] - mean_h - (input[i] - mean) * rstd * mean_hn);
    }
  } else {
    const float* dresidual = work.dresidual + row * work.C;
#pragma GCC ivdep
    for (int64_t i = 0; i < work.C; ++i) {
      dx[i] =
          dresidual[i] + rstd * (dy[i] * weight[i] - mean_h - (input[i] - mean) * rstd * mean_hn);
    }
  }
}

}  // namespace

void run(ThreadPool& pool, const LayerNormForward& work) {
  const int64_t task_rows = std::max<int64_t>(1, kTaskElements / work.C);
  pool.run(ceil_divide(work.N, task_rows), [&](int64_t task, int) {
    const int64_t end = std::min((task + 1) * task_rows, work.N);
    for (int64_t row = task * task_rows; row < end; ++row) normalize_row(work, row);
  });
}

int64_t layer_norm_backward_workspace_bytes(int64_t N, int64_t C) {
  return ceil_divide(N, block_rows(N)) * 2 * C * static_cast<int64_t>(sizeof(float));
}

void run(ThreadPool& pool, const LayerNormBackward& work) {
  const int64_t rows = block_rows(work.N);
  const int64_t num_blocks = ceil_divide(work.N, rows);
  const int64_t C = work.C;
  auto* sums = static_cast<float*>(work.workspace);  // (num_blocks, 2, C)
  pool.run(num_blocks, [&](int64_t block, int) {
    float* dweight_sum = sums + block * 2 * C;
    std::fill_n(dweight_sum, 2 * C, 0.0F);
    const int64_t end = std::min((block + 1) * rows, work.N);
    for (int64_t row = block * rows; row < end; ++row)
      backward_row(work, row, dweight_sum, dweight_sum + C);
  });
  // The blocks' sums, in ascending order.
  constexpr int64_t kStrip = 256;
  pool.run(ceil_divide(2 * C, kStrip), [&](int64_t strip, int) {
    for (int64_t i = strip * kStrip; i < std::min((strip + 1) * kStrip, 2 * C); ++i) {
      float total = 0;
      for (int64_t block = 0; block < num_blocks; ++block) total += sums[block * 2 * C + i];
      float* out = i < C ? work.dweight + i : work.dbias + (i - C);
      *out = work.write == Write::kAccumulate ? *out + total : total;
    }
  });
}

}  // namespace leasehold::cpu
