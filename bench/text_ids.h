// Token ids as texts have them: a few are everywhere, most are rare.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace leasehold {

// An id below `limit` from a number that is uniform in [0, 1): id k with a probability of about
// 1 / (k + 1) / ln(limit) (Zipf's law), so that of 50257 the first has 6.4%.
inline int32_t text_id(double uniform, int64_t limit) {
  const double rank = std::exp(uniform * std::log(static_cast<double>(limit) + 1));
  return static_cast<int32_t>(std::clamp<int64_t>(static_cast<int64_t>(rank) - 1, 0, limit - 1));
}

}  // namespace leasehold
