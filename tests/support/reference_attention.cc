#include "tests/support/reference_attention.h"

#include <algorithm>
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

namespace {

// One query of one head: probabilities, and what its errors are made of. Keys up to its own.
class Query {
 public:
  Query(const AttentionShape& shape, const Dropout& dropout, const double* qkv, const double* dout,
        int64_t b, int64_t h, int64_t t)
      : shape_(shape), qkv_(qkv), b_(b), h_(h), t_(t), dout_(dout + out_index()) {
    find_probabilities();
    find_factors(dropout);
  }

  int64_t out_index() const { return ((b_ * shape_.T + t_) * shape_.H() + h_) * shape_.D; }
  int64_t query_index() const { return at(t_, h_ % shape_.R); }
  int64_t key_index(int64_t j) const { return at(j, shape_.R); }
  int64_t value_index(int64_t j) const { return at(j, shape_.R + 1); }
  double scale() const { return 1 / std::sqrt(static_cast<double>(shape_.D)); }

  double log_sum_exp() const { return log_sum_exp_; }
  // The largest sum of a score's terms.
  double score_terms() const { return score_terms_; }
  double probability(int64_t j) const { return probabilities_[static_cast<size_t>(j)]; }
  // With dropout.
  double weight(int64_t j) const { return probability(j) * factors_[static_cast<size_t>(j)]; }
  double out(int64_t d, bool magnitudes) const {
    double sum = 0;
    for (int64_t j = 0; j <= t_; ++j) {
      const double value = qkv_[value_index(j) + d];
      sum += weight(j) * (magnitudes ? std::abs(value) : value);
    }
    return sum;
  }
  double dout(int64_t d) const { return dout_[d]; }

  // dP, and the sum of its terms.
  double dprobability(int64_t j, bool magnitudes) const {
    double sum = 0;
    for (int64_t d = 0; d < shape_.D; ++d) {
      const double term = dout_[d] * qkv_[value_index(j) + d];
      sum += magnitudes ? std::abs(term) : term;
    }
    return sum * factors_[static_cast<size_t>(j)];
  }

 private:
  int64_t at(int64_t t, int64_t slot) const {
    return (((b_ * shape_.T + t) * shape_.G + h_ / shape_.R) * (shape_.R + 2) + slot) * shape_.D;
  }
  void find_probabilities() {
    double largest = -HUGE_VAL, sum = 0;
    for (int64_t j = 0; j <= t_; ++j) {
      double score = 0, terms = 0;
      for (int64_t d = 0; d < shape_.D; ++d) {
        const double term = scale() * qkv_[query_index() + d] * qkv_[key_index(j) + d];
        score += term;
        terms += std::abs(term);
      }
      probabilities_.push_back(score);
      largest = std::max(largest, score);
      score_terms_ = std::max(score_terms_, terms);
    }
    for (const double score : probabilities_) sum += std::exp(score - largest);
    log_sum_exp_ = largest + std::log(sum);
    for (double& score : probabilities_) score = std::exp(score - log_sum_exp_);
  }
  void find_factors(const Dropout& dropout) {
    const int64_t all_heads = shape_.all_heads == 0 ? shape_.H() : shape_.all_heads;
    const int64_t first = ((b_ * all_heads + shape_.first_head + h_) * shape_.T + t_) * shape_.T;
    for (int64_t j = 0; j <= t_; ++j) {
      const auto element = static_cast<uint64_t>(dropout.first_element + first + j);
      const bool dropped = dropout.p > 0 && dropout.site.uniform(element) < dropout.p;
      factors_.push_back(dropped ? 0 : 1 / (1 - static_cast<double>(dropout.p)));
    }
  }

  const AttentionShape& shape_;
  const double* qkv_;
  int64_t b_, h_, t_;
  const double* dout_;
  std::vector<double> probabilities_, factors_;
  double log_sum_exp_ = 0, score_terms_ = 0;
};

// Adds, to the bounds of one query's outputs, `out_bound` (D) times `spread`; to those of gradients
// what comes of errors `dscores` (t + 1) of dS.
void add_query(const AttentionShape& shape, const Query& query, int64_t t, const double* qkv,
               double spread, const std::vector<double>& dscores, const AttentionBounds& bounds) {
  for (int64_t d = 0; d < shape.D; ++d) {
    bounds.out[query.out_index() + d] = query.out(d, true) * spread;
    for (int64_t j = 0; j <= t; ++j) {
      const double dscore = query.scale() * dscores[static_cast<size_t>(j)];
      bounds.dqkv[query.query_index() + d] += dscore * std::abs(qkv[query.key_index(j) + d]);
      bounds.dqkv[query.key_index(j) + d] += dscore * std::abs(qkv[query.query_index() + d]);
      bounds.dqkv[query.value_index(j) + d] += query.weight(j) * std::abs(query.dout(d)) * spread;
    }
  }
}

// visit(query, b, h, t)
template <typename Visit>
void for_each_query(const AttentionShape& shape, const Dropout& dropout, const double* qkv,
                    const double* dout, const AttentionBounds& bounds, Visit&& visit) {
  std::fill_n(bounds.dqkv, shape.B * shape.T * shape.G * (shape.R + 2) * shape.D, 0.0);
  for (int64_t b = 0; b < shape.B; ++b) {
    for (int64_t h = 0; h < shape.H(); ++h) {
      for (int64_t t = 0; t < shape.T; ++t)
        visit(Query(shape, dropout, qkv, dout, b, h, t), (b * shape.H() + h) * shape.T + t, t);
    }
  }
}

}  // namespace

void attention_terms(const AttentionShape& shape, const Dropout& dropout, const double* qkv,
                     const double* dout, const AttentionBounds& bounds) {
  for_each_query(
      shape, dropout, qkv, dout, bounds, [&](const Query& query, int64_t row, int64_t t) {
        const double spread = 1 + query.score_terms();
        bounds.log_sum_exp[row] = 1 + query.score_terms() + std::abs(query.log_sum_exp());
        double delta = 0;
        for (int64_t d = 0; d < shape.D; ++d) delta += std::abs(query.dout(d)) * query.out(d, true);
        std::vector<double> dscores;
        for (int64_t j = 0; j <= t; ++j)
          dscores.push_back(query.probability(j) * (query.dprobability(j, true) + delta) * spread);
        add_query(shape, query, t, qkv, spread, dscores, bounds);
      });
}

void attention_rounded_inside(const AttentionShape& shape, const Dropout& dropout,
                              const double* qkv, const double* dout,
                              const AttentionBounds& bounds) {
  for_each_query(
      shape, dropout, qkv, dout, bounds, [&](const Query& query, int64_t row, int64_t t) {
        bounds.log_sum_exp[row] = 0;
        double delta = 0, rounded_out = 0;
        for (int64_t d = 0; d < shape.D; ++d) {
          delta += query.dout(d) * query.out(d, false);
          rounded_out +=
              std::abs(query.dout(d)) * (query.out(d, true) + std::abs(query.out(d, false)));
        }
        std::vector<double> dscores;
        for (int64_t j = 0; j <= t; ++j) {
          dscores.push_back(query.probability(j) *
                            (std::abs(query.dprobability(j, false) - delta) + rounded_out));
        }
        add_query(shape, query, t, qkv, 1, dscores, bounds);
      });
}

}  // namespace leasehold
