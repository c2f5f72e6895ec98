#include <algorithm>

#include "runtime/base/check.h"
#include "runtime/tensor/kernels_cpu.h"
#include "runtime/tensor/kernels_cpu_elements.h"
#include "runtime/tensor/kernels_cpu_math.h"

namespace leasehold::cpu {

namespace {

constexpr int64_t kTaskElements = 32768;
constexpr int64_t kSumBlock =
    1024;  // exponentials added in float before they join the row's double

int64_t ceil_divide(int64_t value, int64_t divisor) { return (value + divisor - 1) / divisor; }

// sum of exp(row - largest); with Keep the exponentials replace the row (of float: what is rounded
// keeps its logits, and makes the exponentials again).
template <bool Keep, typename E>
double sum_exponentials(E* row, int64_t V, float largest) {
  double total = 0;
  for (int64_t begin = 0; begin < V; begin += kSumBlock) {
    E* block = row + begin;
    total += lane_sum<float>(std::min(kSumBlock, V - begin), [&](int64_t i) {
      const float exponential = exp_f32(load(block[i]) - largest);
      if constexpr (Keep) block[i] = exponential;
      return exponential;
    });
  }
  return total;
}

// The largest logit of some columns of a row, the sum of exp(logit - largest) over them, and the
// target's logit.
struct RowStatistics {
  double largest, sum, target_logit;
};

// Of the whole row's `statistics`.
double loss_of(const RowStatistics& statistics) {
  return statistics.largest + log_f64(statistics.sum) - statistics.target_logit;
}

// `target` is a column here, or outside [0, V).
template <typename E>
RowStatistics measure_row(E* row, int64_t V, int64_t target, bool keep_exponentials) {
  const float largest = lane_max(V, [&](int64_t i) { return load(row[i]); });
  const double target_logit = target >= 0 && target < V ? load(row[target]) : 0;
  const bool keep = keep_exponentials && !kIsNarrow<E>;
  const double sum = keep ? sum_exponentials<!kIsNarrow<E>>(row, V, largest)
                          : sum_exponentials<false>(row, V, largest);
  return {largest, sum, target_logit};
}

// Exponentials, of which `factor` makes gradients, become the gradient.
void make_gradient(float* row, int64_t V, int64_t target, float, float factor,
                   float gradient_scale) {
#pragma GCC ivdep
  for (int64_t i = 0; i < V; ++i) row[i] *= factor;
  if (target >= 0 && target < V) row[target] -= gradient_scale;
}
// The same of logits whose largest is `largest`, with one rounding.
void make_gradient(Bf16* row, int64_t V, int64_t target, float largest, float factor,
                   float gradient_scale) {
  const bool is_here = target >= 0 && target < V;
  const float target_logit = is_here ? load(row[target]) : 0;
#pragma GCC ivdep
  for (int64_t i = 0; i < V; ++i) row[i] = rounded<Bf16>(exp_f32(load(row[i]) - largest) * factor);
  if (is_here)
    row[target] = rounded<Bf16>(exp_f32(target_logit - largest) * factor - gradient_scale);
}

// The row's loss; its logits become the gradient when one is asked for. Three passes over a row
// that the second-level cache holds.
template <typename E>
double run_row(const CrossEntropy<E>& work, int64_t index) {
  E* row = work.logits + index * work.stride;
  const int32_t target = work.targets[index];
  const bool wants_gradient = work.gradient_scale != 0;
  if (target < 0) {
    if (wants_gradient) std::fill_n(row, work.V, rounded<E>(0));
    return 0;
  }
  const RowStatistics statistics = measure_row(row, work.V, target, wants_gradient);
  if (wants_gradient) {
    make_gradient(row, work.V, target, static_cast<float>(statistics.largest),
                  static_cast<float>(work.gradient_scale / statistics.sum), work.gradient_scale);
  }
  return loss_of(statistics);
}

template <typename E>
double run_row(const CrossEntropyStatistics<E>& work, int64_t index) {
  const int32_t target = work.targets[index];
  RowStatistics statistics{};
  if (target >= 0) {
    statistics = measure_row(work.logits + index * work.stride, work.V,
                             target - work.shard.index * work.V, work.for_gradient);
  }
  double* out = work.statistics + index * 3;
  out[0] = statistics.largest;
  out[1] = statistics.sum;
  out[2] = statistics.target_logit;
  return 0;
}

// exp(of one shard's largest logit - the whole row's).
double rescale(double largest, double of_row) {
  return exp_f32(static_cast<float>(largest) - static_cast<float>(of_row));
}

template <typename E>
double run_row(const CrossEntropyFromStatistics<E>& work, int64_t index) {
  E* row = work.gradient_scale == 0 ? nullptr : work.logits + index * work.stride;
  const int32_t target = work.targets[index];
  if (target < 0) {
    if (row != nullptr) std::fill_n(row, work.V, rounded<E>(0));
    return 0;
  }
  const auto of_shard = [&](int64_t shard) {
    return work.statistics + (shard * work.N + index) * 3;
  };
  RowStatistics whole{of_shard(0)[0], 0, 0};
  for (int64_t shard = 1; shard < work.shard.count; ++shard) {
    whole.largest = std::max(whole.largest, of_shard(shard)[0]);
  }
  for (int64_t shard = 0; shard < work.shard.count; ++shard) {
    whole.sum += of_shard(shard)[1] * rescale(of_shard(shard)[0], whole.largest);
    whole.target_logit += of_shard(shard)[2];
  }
  if (row != nullptr) {
    const double largest = of_shard(work.shard.index)[0];
    const double factor = work.gradient_scale * rescale(largest, whole.largest) / whole.sum;
    make_gradient(row, work.V, target - work.shard.index * work.V, static_cast<float>(largest),
                  static_cast<float>(factor), work.gradient_scale);
  }
  return loss_of(whole);
}

// finish(row, run_row(work, row)) for every row.
template <typename Work, typename Finish>
void run_rows(ThreadPool& pool, const Work& work, Finish&& finish) {
  const int64_t task_rows = std::max<int64_t>(1, kTaskElements / std::max<int64_t>(1, work.V));
  pool.run(ceil_divide(work.N, task_rows), [&](int64_t task, int) {
    const int64_t end = std::min((task + 1) * task_rows, work.N);
    for (int64_t row = task * task_rows; row < end; ++row) finish(row, run_row(work, row));
  });
}

// *work.loss = the rows' losses, added in their order.
template <typename Work>
void sum_losses(ThreadPool& pool, const Work& work) {
  auto* losses = static_cast<double*>(work.workspace);
  run_rows(pool, work, [&](int64_t row, double loss) { losses[row] = loss; });
  double total = 0;
  for (int64_t row = 0; row < work.N; ++row) total += losses[row];
  *work.loss = total;
}

void check_targets(const int32_t* targets, int64_t count, int64_t vocab) {
  for (int64_t i = 0; i < count; ++i) {
    LEASEHOLD_CHECK(targets[i] < vocab, "cross_entropy: target {} at {}, the vocabulary has {}",
                    targets[i], i, vocab);
  }
}

}  // namespace

int64_t cross_entropy_workspace_bytes(int64_t N) {
  return N * static_cast<int64_t>(sizeof(double));
}

template <typename E>
void run(ThreadPool& pool, const CrossEntropy<E>& work) {
  check_targets(work.targets, work.N, work.V);
  sum_losses(pool, work);
}

template <typename E>
void run(ThreadPool& pool, const CrossEntropyStatistics<E>& work) {
  check_targets(work.targets, work.N, work.shard.count * work.V);
  run_rows(pool, work, [](int64_t, double) {});
}

template <typename E>
void run(ThreadPool& pool, const CrossEntropyFromStatistics<E>& work) {
  sum_losses(pool, work);
}

template void run(ThreadPool& pool, const CrossEntropy<float>& work);
template void run(ThreadPool& pool, const CrossEntropy<Bf16>& work);
template void run(ThreadPool& pool, const CrossEntropyStatistics<float>& work);
template void run(ThreadPool& pool, const CrossEntropyStatistics<Bf16>& work);
template void run(ThreadPool& pool, const CrossEntropyFromStatistics<float>& work);
template void run(ThreadPool& pool, const CrossEntropyFromStatistics<Bf16>& work);

}  // namespace leasehold::cpu
