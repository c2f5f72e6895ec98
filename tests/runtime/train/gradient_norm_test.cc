// The norm has the same bits however the chunks are spread over ranks, and is the norm.
#include "runtime/train/gradient_norm.h"

#include <cmath>
#include <gtest/gtest.h>

#include "runtime/base/random.h"
#include "runtime/tensor/kernels.h"

namespace leasehold {
namespace {

// A square sum for chunk `chunk` of parameter `p`; magnitudes differ, so that the order of addition
// shows.
double chunk_sum(size_t p, int64_t chunk) {
  const RandomSite site = RandomSite::make(7, "chunk" + std::to_string(p));
  return std::exp(8.0 * site.normal(static_cast<uint64_t>(chunk)));
}

std::vector<ParameterSpec> norm_specs() {
  return {{.name = "z", .shape = {13 * Kernels::kChunk - 1}},
          {.name = "tied", .shape = {5 * Kernels::kChunk}, .num_gradient_slots = 2},
          {.name = "a", .shape = {9}},
          {.name = "m", .shape = {31 * Kernels::kChunk + 3}}};
}

double norm_over(int num_ranks, int64_t bucket_chunks) {
  const ParameterTable table(norm_specs());
  const FlatLayout layout = make_flat_layout(table, num_ranks, 4 * bucket_chunks * Kernels::kChunk);
  GradientNorm norm(layout);
  std::vector<double> all;
  for (int rank = 0; rank < num_ranks; ++rank) {
    std::vector<double> sums(static_cast<size_t>(norm.num_chunks(rank)), 0.0);
    for (const OwnedRange& range : layout.owned_by(rank)) {
      for (int64_t at = 0; at < range.count; at += Kernels::kChunk) {
        sums[static_cast<size_t>((range.shard_begin + at) / Kernels::kChunk)] =
            chunk_sum(static_cast<size_t>(range.parameter), (range.begin + at) / Kernels::kChunk);
      }
    }
    std::vector<double> values(static_cast<size_t>(norm.num_values()));
    norm.own_values(rank, sums, values);
    all.insert(all.end(), values.begin(), values.end());
  }
  return norm.norm(all);
}

TEST(GradientNorm, HasTheSameBitsForEveryNumberOfRanksAndBucketSize) {
  const double one = norm_over(1, 4);
  for (int ranks = 1; ranks <= 9; ++ranks) {
    for (const int64_t chunks : {1, 2, 5, 100})
      EXPECT_EQ(norm_over(ranks, chunks), one) << ranks << " " << chunks;
  }
}

TEST(GradientNorm, IsTheNorm) {
  double squares = 0;
  const int64_t chunks[] = {13, 5, 1, 32};
  for (size_t p = 0; p < 4; ++p) {
    for (int64_t chunk = 0; chunk < chunks[p]; ++chunk) squares += chunk_sum(p, chunk);
  }
  EXPECT_NEAR(norm_over(3, 2) / std::sqrt(squares), 1.0, 1e-12);
}

}  // namespace
}  // namespace leasehold
