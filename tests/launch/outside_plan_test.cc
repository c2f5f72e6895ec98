// About how much of a GPU's memory the plan leaves out, and how many communicators a rank makes.
#include "launch/outside_plan.h"

#include <gtest/gtest.h>

namespace leasehold {
namespace {

NcclForecast of(const MeshShape& shape, int stage, int chunks = 1, bool tied = false) {
  return forecast_nccl(shape, {.pipeline = stage}, chunks, tied);
}

TEST(OutsidePlan, CountsCommunicatorsByAxesAndDirections) {
  EXPECT_EQ(of({}, 0).axes + of({}, 0).lanes, 0);
  EXPECT_EQ(of({.data = 8}, 0).axes, 1);
  EXPECT_EQ(of({.data = 8, .tensor = 2}, 0).axes, 2);
  const MeshShape deep{.data = 2, .pipeline = 4, .tensor = 2};
  for (const auto& [stage, lanes] : {std::pair{0, 2}, {1, 4}, {2, 4}, {3, 2}})
    EXPECT_EQ(of(deep, stage).lanes, lanes) << stage;
  EXPECT_EQ(of(deep, 0, 1, true).lanes, 4) << "the tied weight's gradient, both ways";
  EXPECT_EQ(of(deep, 1, 1, true).lanes, 4);
  EXPECT_EQ(of(deep, 0, 2).lanes, 4) << "a ring";
  EXPECT_EQ(of(deep, 0, 2, true).lanes, 5);
  EXPECT_EQ(of({.pipeline = 2}, 0).lanes, 2);
  EXPECT_EQ(of({.pipeline = 2}, 0, 1, true).lanes, 3);
  EXPECT_EQ(of({.pipeline = 2}, 1, 2, true).lanes, 4);
}

TEST(OutsidePlan, DoesNotGrowWithTheWorld) {
  for (const int scale : {1, 16, 1000}) {
    for (const int stage : {0, 1, 3}) {
      const MeshShape shape{.data = 2 * scale, .pipeline = 4, .tensor = 8};
      EXPECT_EQ(of(shape, stage, 2, true).lanes,
                of({.data = 2, .pipeline = 4, .tensor = 8}, stage, 2, true).lanes);
      EXPECT_LE(of(shape, stage, 2, true).axes + of(shape, stage, 2, true).lanes, 7);
    }
  }
}

TEST(OutsidePlan, IsALineWithItsParts) {
  const std::string line = outside_plan_line({.axes = 2, .lanes = 4});
  for (const char* words :
       {"outside the plan", "about 1.48 GiB", "cuBLASLt 0.88", "0.61 (2 of axes, 4 for messages)"})
    EXPECT_NE(line.find(words), std::string::npos) << words << " in " << line;
}

}  // namespace
}  // namespace leasehold
