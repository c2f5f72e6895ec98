#include "runtime/train/flat_layout.h"

#include <gtest/gtest.h>

#include "runtime/tensor/kernels.h"

namespace leasehold {
namespace {

constexpr int64_t kChunk = Kernels::kChunk;

std::vector<ParameterSpec> specs() {
  return {{.name = "table", .shape = {61, 128}, .decay = true, .num_gradient_slots = 2},
          {.name = "a", .shape = {3 * kChunk + 5}},
          {.name = "b", .shape = {7}},
          {.name = "tied", .shape = {kChunk}, .num_gradient_slots = 3},
          {.name = "c", .shape = {9, 1000}, .decay = true}};
}

class FlatLayoutTest : public testing::TestWithParam<int> {};

TEST_P(FlatLayoutTest, ShardsCoverEveryElementOnce) {
  const ParameterTable table(specs());
  const FlatLayout layout = make_flat_layout(table, GetParam(), 4 * 2 * kChunk);
  std::vector<std::vector<int>> seen;
  for (const auto& parameter : layout.parameters)
    seen.emplace_back(static_cast<size_t>(parameter.num_elements), 0);
  for (int rank = 0; rank < GetParam(); ++rank) {
    int64_t last_shard = -1;
    for (const OwnedRange& range : layout.owned_by(rank)) {
      EXPECT_EQ(range.begin % kChunk, 0);
      EXPECT_EQ(range.shard_begin % kChunk, 0);
      EXPECT_GT(range.shard_begin, last_shard);
      last_shard = range.shard_begin;
      EXPECT_LE(range.shard_begin + range.count, layout.num_shard_elements);
      const auto p = static_cast<size_t>(range.parameter);
      EXPECT_EQ(range.value_begin, layout.parameters[p].value_begin + range.begin);
      for (int64_t i = range.begin; i < range.begin + range.count; ++i)
        ++seen[p][static_cast<size_t>(i)];
    }
  }
  for (const auto& counts : seen) {
    for (const int count : counts) ASSERT_EQ(count, 1);
  }
}

TEST_P(FlatLayoutTest, BucketsTileBothSpaces) {
  const ParameterTable table(specs());
  const FlatLayout layout = make_flat_layout(table, GetParam(), 4 * 2 * kChunk);
  int64_t value_end = 0, gradient_end = 0, shard_end = 0;
  for (size_t b = 0; b < layout.buckets.size(); ++b) {
    const Bucket& bucket = layout.buckets[b];
    EXPECT_EQ(bucket.gradient_begin, gradient_end);
    EXPECT_EQ(bucket.shard_begin, shard_end);
    EXPECT_EQ(bucket.shard_elements % kChunk, 0);
    if (static_cast<int>(b) < layout.num_value_buckets) {
      EXPECT_EQ(bucket.slot, 0);
      EXPECT_EQ(bucket.value_begin, value_end);
      value_end += bucket.shard_elements * GetParam();
    } else {
      EXPECT_GT(bucket.slot, 0);
      EXPECT_EQ(layout.value_bucket_of(bucket).shard_elements, bucket.shard_elements);
    }
    gradient_end += bucket.shard_elements * GetParam();
    shard_end += bucket.shard_elements;
  }
  EXPECT_EQ(value_end, layout.num_value_elements);
  EXPECT_EQ(gradient_end, layout.num_gradient_elements);
  EXPECT_EQ(shard_end, layout.num_all_shard_elements);
}

TEST_P(FlatLayoutTest, EverySlotOfATiedParameterHasBucketsOfItsOwn) {
  const ParameterTable table(specs());
  const FlatLayout layout = make_flat_layout(table, GetParam(), 4 * 2 * kChunk);
  for (const int p : {0, 3}) {
    const auto& parameter = layout.parameters[static_cast<size_t>(p)];
    for (int slot = 0; slot < static_cast<int>(parameter.gradient_begin.size()); ++slot) {
      const auto buckets = layout.buckets_of(p, slot);
      ASSERT_FALSE(buckets.empty());
      const Bucket& first = layout.buckets[static_cast<size_t>(buckets.front())];
      EXPECT_EQ(first.value_begin, parameter.value_begin);
      EXPECT_EQ(first.gradient_begin, parameter.gradient_begin[static_cast<size_t>(slot)]);
    }
  }
  EXPECT_EQ(layout.parameters[3].gradient_begin.size(), 3U);
}

INSTANTIATE_TEST_SUITE_P(Ranks, FlatLayoutTest, testing::Values(1, 2, 3, 5, 8));

}  // namespace
}  // namespace leasehold
