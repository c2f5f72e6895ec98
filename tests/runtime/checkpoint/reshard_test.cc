#include "runtime/checkpoint/reshard.h"

#include <gtest/gtest.h>
#include <random>

#include "tests/runtime/checkpoint/sample_state.h"

namespace leasehold {
namespace {

std::vector<CopyRun> runs(const BoxRange& source, const BoxRange& target) {
  std::vector<CopyRun> all;
  for_each_run(source, target, [&](const CopyRun& run) {
    all.push_back(run);
    return true;
  });
  return all;
}

TEST(Reshard, WholeRowsAreOneRun) {
  const Shape global = {4, 6};
  const Box top = {{0, 0}, {2, 6}};
  EXPECT_EQ(runs({Box::whole(global), 3, 24}, {top, 0, 12}), (std::vector<CopyRun>{{0, 3, 9}}));
  EXPECT_EQ(runs({Box::whole(global), 12, 24}, {top, 0, 12}), std::vector<CopyRun>{});
}

TEST(Reshard, AColumnIsOneRunPerRow) {
  const Shape global = {3, 6};
  const Box right = {{0, 4}, {3, 2}};
  EXPECT_EQ(runs({Box::whole(global), 0, 18}, {right, 0, 6}),
            (std::vector<CopyRun>{{4, 0, 2}, {10, 2, 2}, {16, 4, 2}}));
  EXPECT_EQ(runs({Box::whole(global), 5, 17}, {right, 1, 6}),
            (std::vector<CopyRun>{{0, 0, 1}, {5, 1, 2}, {11, 3, 1}}));
}

TEST(Reshard, AScalarIsOneElement) {
  EXPECT_EQ(runs({Box::whole({}), 0, 1}, {Box::whole({}), 0, 1}),
            (std::vector<CopyRun>{{0, 0, 1}}));
}

TEST(Reshard, StopsWhenAsked) {
  int64_t visited = 0;
  for_each_run({Box::whole({8, 2}), 0, 16}, {{{0, 1}, {8, 1}}, 0, 8},
               [&](const CopyRun&) { return ++visited < 3; });
  EXPECT_EQ(visited, 3);
}

// Boxes of 2^34 elements and more: positions beyond 32 bits, and no time spent on rows outside the
// ranges.
TEST(Reshard, FindsAFewRunsInAHugeTensor) {
  const Box left = {{0, 0}, {int64_t{1} << 24, 1000}};
  const Box right = {{0, 500}, {int64_t{1} << 24, 3000}};
  const int64_t row = (int64_t{1} << 24) - 2;
  EXPECT_EQ(
      runs({left, row * 1000, (row + 2) * 1000}, {right, row * 3000 + 100, (row + 1) * 3000 + 200}),
      (std::vector<CopyRun>{{600, 0, 400}, {1500, 2900, 200}}));
  EXPECT_FALSE(overlaps({left, 0, 1000}, {right, 3000, 6000}));
  EXPECT_TRUE(overlaps({left, 0, 1501}, {right, 3000, 6000}));
}

// Every element of a random slice arrives from random pieces, whatever the two layouts.
TEST(Reshard, AnyLayoutFillsAnyOther) {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    std::mt19937_64 random(seed);
    const SampleState state = random_state(sample_shapes(), seed);
    std::vector<RankSlices> stored =
        random_layout(sample_shapes(), 1 + static_cast<int>(random() % 8), random);
    const std::vector<RankSlices> wanted =
        random_layout(sample_shapes(), 1 + static_cast<int>(random() % 8), random);
    SampleState arrived;
    for (RankSlices& source : stored) copy_in(state, source);
    for (const RankSlices& target : wanted) {
      for (const RankSlices& source : stored) {
        for (size_t i = 0; i < target.slices.size(); ++i) {
          const StateSlice& to = target.slices[i];
          const StateSlice& from = source.slices[i];
          copy_shared({from.box, from.begin, from.begin + from.data.num_elements()},
                      from.data.as<float>(), {to.box, to.begin, to.begin + to.data.num_elements()},
                      to.data.as<float>());
        }
      }
      copy_out(target, arrived);
    }
    ASSERT_EQ(arrived, state) << "seed " << seed;
  }
}

// Overlap is symmetric, and so are the runs.
TEST(Reshard, RunsDoNotDependOnTheDirection) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    std::mt19937_64 random(seed);
    const std::map<std::string, Shape> shapes = {{"five", {2, 3, 4, 2, 3}}};
    const auto a = random_layout(shapes, 4, random)[random() % 4].slices[0];
    const auto b = random_layout(shapes, 6, random)[random() % 6].slices[0];
    const BoxRange source = {a.box, a.begin, a.begin + a.data.num_elements()};
    const BoxRange target = {b.box, b.begin, b.begin + b.data.num_elements()};
    std::vector<CopyRun> there = runs(source, target);
    for (CopyRun& run : there) std::swap(run.source, run.target);
    ASSERT_EQ(there, runs(target, source)) << "seed " << seed;
    ASSERT_EQ(overlaps(source, target), !there.empty()) << "seed " << seed;
  }
}

}  // namespace
}  // namespace leasehold
