// Whole runs over the memory tier are in tests/runtime/train/snapshots_test.cc; here is what they
// do not meet.
#include "runtime/checkpoint/memory_tier.h"

#include <gtest/gtest.h>

#include "collectives/threads.h"
#include "tests/runtime/checkpoint/sample_state.h"
#include "tests/support/temporary_directory.h"

namespace leasehold {
namespace {

constexpr double kLimitS = 30;

// Two ranks that keep each other's copies take a snapshot of `info`, with memory reserved for
// descriptions like `like`. The failure of rank 0's.
Status snapshot(const CheckpointInfo& like, const CheckpointInfo& info) {
  const TemporaryDirectory directory;
  Status result = error(Code::kInternal, "did not run");
  run_ranks(2, {}, [&](Communicator& world) {
    RankSlices slices = whole_slices({{"w", Shape{4, 6}}});
    const auto tier = MemoryTier::create({.directory = directory.path(),
                                          .run_dir = directory / "run",
                                          .node = world.rank() == 0 ? "a" : "b",
                                          .partners = {1, 0},
                                          .timeout_s = kLimitS},
                                         slices.slices, like, world)
                          .value();
    tier->begin(info, -1);
    const Status ended = tier->wait_ended(Deadline::after_s(kLimitS));
    EXPECT_TRUE(ended.ok()) << ended.message();
    EXPECT_EQ(tier->ended_step(), info.step);
    const Status failure = tier->take_failure();
    EXPECT_EQ(tier->whole_step(), failure.ok() ? info.step : -1);
    if (world.rank() == 0) result = failure;
  });
  return result;
}

std::string table(int64_t num_bytes) {
  std::string text = "algorithms of x\n";
  for (int64_t line = 0; std::ssize(text) < num_bytes; ++line)
    text += fmt::format("forward {} = 1\n", line);
  return text;
}

TEST(MemoryTier, HasRoomForAlgorithmsOfProductsThatAreMetLater) {
  CheckpointInfo like = sample_info(6), info = sample_info(7);
  like.algorithms = table(1);
  info.algorithms = table(100000);
  const Status kept = snapshot(like, info);
  EXPECT_TRUE(kept.ok()) << kept.message();
}

TEST(MemoryTier, ADescriptionThatOutgrowsItsRoomFailsTheSnapshotAndSaysSo) {
  CheckpointInfo like = sample_info(6), info = sample_info(7);
  like.algorithms = table(1);
  info.algorithms = table(MemoryTier::kAlgorithmBytes + 10000);
  const Status failed = snapshot(like, info);
  EXPECT_EQ(failed.code(), Code::kStorage);
  EXPECT_NE(failed.message().find("algorithms of matrix products"), std::string::npos)
      << failed.message();
}

}  // namespace
}  // namespace leasehold
