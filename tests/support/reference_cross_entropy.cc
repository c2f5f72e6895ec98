#include "tests/support/reference_cross_entropy.h"

#include <algorithm>
#include <cmath>

namespace leasehold::reference {

double cross_entropy(int64_t N, int64_t V, int64_t stride, double* logits, const int32_t* targets,
                     double gradient_scale) {
  double loss = 0;
  for (int64_t n = 0; n < N; ++n) {
    double* row = logits + n * stride;
    double largest = row[0], sum = 0;
    for (int64_t v = 0; v < V; ++v) largest = std::max(largest, row[v]);
    for (int64_t v = 0; v < V; ++v) sum += std::exp(row[v] - largest);
    const double log_sum_exp = largest + std::log(sum);
    const bool counts = targets[n] >= 0;
    if (counts) loss += log_sum_exp - row[targets[n]];
    if (gradient_scale == 0) continue;
    for (int64_t v = 0; v < V; ++v) {
      const double difference = std::exp(row[v] - log_sum_exp) - (v == targets[n] ? 1 : 0);
      row[v] = counts ? gradient_scale * difference : 0;
    }
  }
  return loss;
}

void cross_entropy_statistics(int64_t N, int64_t V, int64_t stride, double* logits,
                              const int32_t* targets, const VocabularyShard& shard,
                              bool for_gradient, double* statistics) {
  for (int64_t n = 0; n < N; ++n) {
    double* row = logits + n * stride;
    double* out = statistics + n * 3;
    out[0] = out[1] = out[2] = 0;
    if (targets[n] < 0) continue;
    out[0] = *std::max_element(row, row + V);
    for (int64_t v = 0; v < V; ++v) {
      if (shard.index * V + v == targets[n]) out[2] = row[v];
      out[1] += std::exp(row[v] - out[0]);
    }
    for (int64_t v = 0; v < V; ++v) {
      if (for_gradient) row[v] = std::exp(row[v] - out[0]);
    }
  }
}

double cross_entropy_from_statistics(int64_t N, int64_t V, int64_t stride, const double* statistics,
                                     const int32_t* targets, const VocabularyShard& shard,
                                     double gradient_scale, double* logits) {
  double loss = 0;
  for (int64_t n = 0; n < N; ++n) {
    const auto of_shard = [&](int64_t s) { return statistics + (s * N + n) * 3; };
    const bool counts = targets[n] >= 0;
    double largest = of_shard(0)[0], sum = 0, target_logit = 0;
    for (int64_t s = 0; s < shard.count; ++s) largest = std::max(largest, of_shard(s)[0]);
    for (int64_t s = 0; s < shard.count; ++s) {
      sum += of_shard(s)[1] * std::exp(of_shard(s)[0] - largest);
      target_logit += of_shard(s)[2];
    }
    if (counts) loss += largest + std::log(sum) - target_logit;
    if (gradient_scale == 0) continue;
    const double to_probability = std::exp(of_shard(shard.index)[0] - largest) / sum;
    for (int64_t v = 0; v < V; ++v) {
      double& logit = logits[n * stride + v];
      const double is_target = shard.index * V + v == targets[n] ? 1 : 0;
      logit = counts ? gradient_scale * (logit * to_probability - is_target) : 0;
    }
  }
  return loss;
}

}  // namespace leasehold::reference
