#include <algorithm>

#include "runtime/base/check.h"
#include "runtime/tensor/kernels_cpu.h"
#include "runtime/tensor/kernels_cpu_math.h"

namespace leasehold::cpu {

namespace {

constexpr int64_t kTaskElements = 32768;
constexpr int64_t kSumBlock =
    1024;  // exponentials added in float before they join the row's double

int64_t ceil_divide(int64_t value, int64_t divisor) { return (value + divisor - 1) / divisor; }

// sum of exp(row - largest); with kKeep the exponentials replace the row.
template <bool kKeep>
double sum_exponentials(float* row, int64_t V, float largest) {
  double total = 0;
  for (int64_t begin = 0; begin < V; begin += kSumBlock) {
    float* block = row + begin;
    total += lane_sum<float>(std::min(kSumBlock, V - begin), [&](int64_t i) {
      const float exponential = exp_f32(block[i] - largest);
      if constexpr (kKeep) block[i] = exponential;
      return exponential;
    });
  }
  return total;
}

// The row's loss; its logits become the gradient when one is asked for. Three passes over a row
// that the second-level cache holds.
double run_row(const CrossEntropy& work, int64_t index) {
  float* row = work.logits + index * work.V;
  const int32_t target = work.targets[index];
  const bool wants_gradient = work.gradient_scale != 0;
  if (target < 0) {
    if (wants_gradient) std::fill_n(row, work.V, 0.0F);
    return 0;
  }
  const float largest = lane_max(work.V, [&](int64_t i) { return row[i]; });
  const double target_logit = row[target];
  const double sum = wants_gradient ? sum_exponentials<true>(row, work.V, largest)
                                    : sum_exponentials<false>(row, work.V, largest);
  if (wants_gradient) {
    const auto factor = static_cast<float>(work.gradient_scale / sum);
#pragma GCC ivdep
    for (int64_t i = 0; i < work.V; ++i) row[i] *= factor;
    row[target] -= work.gradient_scale;
  }
  return static_cast<double>(largest) + log_f64(sum) - target_logit;
}

}  // namespace

int64_t cross_entropy_workspace_bytes(int64_t N) {
  return N * static_cast<int64_t>(sizeof(double));
}

void run(ThreadPool& pool, const CrossEntropy& work) {
  for (int64_t i = 0; i < work.N; ++i) {
    LEASEHOLD_CHECK(work.targets[i] < work.V,
                    "cross_entropy: target {} at {}, the vocabulary has {}", work.targets[i], i,
                    work.V);
  }
  auto* losses = static_cast<double*>(work.workspace);
  const int64_t task_rows = std::max<int64_t>(1, kTaskElements / work.V);
  pool.run(ceil_divide(work.N, task_rows), [&](int64_t task, int) {
    const int64_t end = std::min((task + 1) * task_rows, work.N);
    for (int64_t row = task * task_rows; row < end; ++row) losses[row] = run_row(work, row);
  });
  double total = 0;
  for (int64_t row = 0; row < work.N; ++row) total += losses[row];
  *work.loss = total;
}

}  // namespace leasehold::cpu
