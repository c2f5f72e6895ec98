#include "tests/support/reference_attention.h"

#include <cmath>
#include <vector>

namespace leasehold {

namespace {

// Computes one query over `count` positions whose keys and values are `stride` apart.
void attend(const double* query, const double* keys, int64_t count, int64_t stride, int64_t D,
            double* out) {
  std::vector<double> weights;
  double sum = 0;
  for (int64_t j = 0; j < count; ++j) {
    double score = 0;
    for (int64_t d = 0; d < D; ++d) score += query[d] * keys[j * stride + d];
    weights.push_back(std::exp(score / std::sqrt(static_cast<double>(D))));
    sum += weights.back();
  }
  for (int64_t d = 0; d < D; ++d) {
    out[d] = 0;
    for (int64_t j = 0; j < count; ++j)
      out[d] += weights[static_cast<size_t>(j)] / sum * keys[j * stride + D + d];
  }
}

}  // namespace

void reference_attention_cached(const AttentionShape& shape, int64_t S, const double* qkv,
                                double* kv, double* out) {
  const int64_t G = shape.G, R = shape.R, D = shape.D, stride = G * 2 * D;
  for (int64_t b = 0; b < shape.B; ++b) {
    for (int64_t t = 0; t < shape.T; ++t) {
      for (int64_t g = 0; g < G; ++g) {
        const int64_t position = shape.first_position + t;
        const double* group = qkv + ((b * shape.T + t) * G + g) * (R + 2) * D;
        double* keys = kv + b * S * stride + g * 2 * D;  // of position 0
        for (int64_t i = 0; i < 2 * D; ++i) keys[position * stride + i] = group[R * D + i];
        for (int64_t r = 0; r < R; ++r) {
          attend(group + r * D, keys, position + 1, stride, D,
                 out + ((b * shape.T + t) * G * R + g * R + r) * D);
        }
      }
    }
  }
}

}  // namespace leasehold
