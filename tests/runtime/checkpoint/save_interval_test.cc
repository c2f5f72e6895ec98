// How often checkpoints are worth while, and what a log tells of failures.
#include "runtime/checkpoint/save_interval.h"

#include <cmath>
#include <gtest/gtest.h>

namespace leasehold {
namespace {

TEST(SaveInterval, IsYoungs) {
  EXPECT_DOUBLE_EQ(save_interval_s(2, 10000), 200);
  EXPECT_DOUBLE_EQ(save_interval_s(60, 86400), std::sqrt(2 * 60 * 86400.0));
  EXPECT_DOUBLE_EQ(save_interval_s(100, 1), 100);  // never more often than a save takes
}

TEST(SaveInterval, MinimisesTheTimeLost) {
  // Per second: the save's share, and half an interval at each failure.
  const auto lost = [](double interval_s) { return 5 / interval_s + interval_s / 2 / 7200; };
  const double best = save_interval_s(5, 7200);
  EXPECT_LT(lost(best), lost(best * 1.1));
  EXPECT_LT(lost(best), lost(best / 1.1));
}

TEST(MeanTimeBetweenFailures, StartsAtADayAndFollowsWhatHappens) {
  EXPECT_DOUBLE_EQ(mean_time_between_failures_s({}), 86400);
  EXPECT_DOUBLE_EQ(mean_time_between_failures_s({.num_failures = 3, .observed_s = 86400}), 43200);
  EXPECT_DOUBLE_EQ(mean_time_between_failures_s({.num_failures = 0, .observed_s = 864000}), 950400);
}

TEST(FailureCounter, CountsStartsThatEndedNeitherDrainedNorFinished) {
  FailureCounter counter;
  EXPECT_EQ(counter.history(5).num_failures, 0);
  counter.add(R"({"time":"1970-01-01T00:01:40.500Z","event":"started"})");
  counter.add(R"({"time":"1970-01-01T00:01:50.000Z","event":"drained"})");
  EXPECT_EQ(counter.history(200).num_failures, 0);
  counter.add(R"({"time":"1970-01-01T00:02:00.000Z","event":"started"})");
  counter.add("not JSON");
  counter.add(R"({"time":"1970-01-01T00:02:10.000Z","event":"checkpoint_saved"})");
  counter.add(R"({"time":"1970-01-01T00:02:20.000Z","event":"started"})");
  EXPECT_EQ(counter.history(200).num_failures, 2);
  EXPECT_DOUBLE_EQ(counter.history(200).observed_s, 100);
}

}  // namespace
}  // namespace leasehold
