#include "launch/plan/pipeline_time.h"

#include <gtest/gtest.h>

namespace leasehold {
namespace {

constexpr auto kOneByOne = PipelineSchedule::kOneForwardOneBackward;

std::vector<PartTime> equal_parts(int count) {
  return std::vector<PartTime>(static_cast<size_t>(count), {1, 2});
}

TEST(PipelineTime, OneStageTakesWhatItComputes) {
  const PipelineShape shape{.num_stages = 1, .num_chunks = 1, .num_microbatches = 5};
  EXPECT_DOUBLE_EQ(pipeline_s(kOneByOne, shape, equal_parts(1), 0), 15);
}

TEST(PipelineTime, EqualPartsHaveTheIdealBubble) {
  for (const int chunks : {1, 2, 3}) {
    for (const int stages : {2, 4}) {
      const PipelineShape shape{.num_stages = stages, .num_chunks = chunks, .num_microbatches = 8};
      const double busy_s = 3.0 * chunks * 8;
      EXPECT_NEAR(pipeline_s(kOneByOne, shape, equal_parts(stages * chunks), 0),
                  busy_s * (1 + ideal_bubble(shape)), 1e-9)
          << stages << " stages of " << chunks;
    }
  }
}

TEST(PipelineTime, TheSlowestStageSetsThePace) {
  const PipelineShape shape{.num_stages = 4, .num_chunks = 1, .num_microbatches = 64};
  std::vector<PartTime> parts = equal_parts(4);
  parts.back() = {2, 4};
  EXPECT_NEAR(pipeline_s(kOneByOne, shape, parts, 0), 64 * 6 + 3 * 3, 1e-9);
}

TEST(PipelineTime, SendingTakesTime) {
  const PipelineShape shape{.num_stages = 2, .num_chunks = 1, .num_microbatches = 1};
  EXPECT_DOUBLE_EQ(pipeline_s(kOneByOne, shape, equal_parts(2), 0.5), 6 + 2 * 0.5);
  EXPECT_DOUBLE_EQ(pipeline_s(PipelineSchedule::kGpipe, shape, equal_parts(2), 0.5), 7);
}

}  // namespace
}  // namespace leasehold
