#include "models/head_rows.h"

#include <algorithm>

namespace leasehold {

namespace {

constexpr int64_t kUnit = 128;                     // rows that products compute at once
constexpr int64_t kSmallChunk = int64_t{1} << 26;  // logits
constexpr int64_t kLargeChunk = int64_t{1} << 28;
constexpr int64_t kEnoughRows = 2048;

int64_t ceil_divide(int64_t value, int64_t divisor) { return (value + divisor - 1) / divisor; }

}  // namespace

int64_t head_rows(int64_t N, int64_t V) {
  int64_t most = std::max(kSmallChunk / V, std::min(kEnoughRows, kLargeChunk / V));
  most = std::max(most / kUnit, int64_t{1}) * kUnit;
  if (N <= most) return N;
  return ceil_divide(ceil_divide(N, ceil_divide(N, most)), kUnit) * kUnit;
}

int64_t earlier_head_rows(int64_t N, int64_t V) {
  const int64_t most = std::max<int64_t>(1, kSmallChunk / V);
  return ceil_divide(N, ceil_divide(N, most));
}

}  // namespace leasehold
