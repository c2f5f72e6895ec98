#include "launch/choose_token.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace leasehold {

namespace {

// Returns the `count` likeliest ids, the likeliest first.
std::vector<int32_t> likeliest(std::span<const float> logits, size_t count) {
  std::vector<int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  const auto likelier = [&](int32_t a, int32_t b) {
    const float left = logits[static_cast<size_t>(a)], right = logits[static_cast<size_t>(b)];
    return left != right ? left > right : a < b;
  };
  std::partial_sort(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(count), ids.end(),
                    likelier);
  ids.resize(count);
  return ids;
}

}  // namespace

int32_t choose_token(std::span<const float> logits, const TokenChoice& choice, double uniform) {
  if (choice.temperature <= 0) return likeliest(logits, 1).front();
  const size_t kept =
      choice.top_k > 0 ? std::min(logits.size(), static_cast<size_t>(choice.top_k)) : logits.size();
  const std::vector<int32_t> ids = likeliest(logits, kept);
  const double largest = logits[static_cast<size_t>(ids.front())];
  std::vector<double> weights;
  for (const int32_t id : ids) {
    weights.push_back(std::exp((static_cast<double>(logits[static_cast<size_t>(id)]) - largest) /
                               choice.temperature));
  }
  double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  if (choice.top_p < 1) {
    const double wanted = choice.top_p * total;
    double sum = 0;
    size_t nucleus = 0;
    while (nucleus < weights.size() && (nucleus == 0 || sum < wanted)) sum += weights[nucleus++];
    weights.resize(nucleus);
    total = sum;
  }
  double left = uniform * total;
  for (size_t i = 0; i < weights.size(); ++i) {
    left -= weights[i];
    if (left < 0) return ids[i];
  }
  return ids[weights.size() - 1];
}

}  // namespace leasehold
