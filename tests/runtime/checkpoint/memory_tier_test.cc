// Whole runs over the memory tier are in tests/runtime/train/snapshots_test.cc; here is what they
// do not meet.
#include "runtime/checkpoint/memory_tier.h"

#include <chrono>
#include <filesystem>
#include <gtest/gtest.h>
#include <thread>

#include "collectives/threads.h"
#include "runtime/comm/host_exchange.h"
#include "tests/runtime/checkpoint/sample_state.h"
#include "tests/support/temporary_directory.h"

namespace leasehold {
namespace {

constexpr double kLimitS = 30;

MemoryTierOptions two_nodes(const std::string& directory) {
  return {.directory = {directory},
          .lineage = "abc",
          .key = SecretKey::parse(std::string(64, '1'), "test").value(),
          .nodes = {"a", "b"},
          .generation = 5,
          .partners = {1, 0},
          .timeout_s = kLimitS};
}

// Waits for the snapshot of `step`; its failure.
Status end_of(MemoryTier& tier, int64_t step) {
  const Status ended = tier.wait_ended(kLimitS);
  EXPECT_TRUE(ended.ok()) << ended.message();
  EXPECT_EQ(tier.ended_step(), step);
  return tier.take_failure();
}

// Two ranks that keep each other's copies take a snapshot of `info`, with memory reserved for
// descriptions like `like`. The failure of rank 0's.
Status snapshot(const CheckpointInfo& like, const CheckpointInfo& info) {
  const TemporaryDirectory directory;
  Status result = error(Code::kInternal, "did not run");
  run_ranks(2, {}, [&](Communicator& world) {
    RankSlices slices = whole_slices({{"w", Shape{4, 6}}});
    const auto tier =
        MemoryTier::create(two_nodes(directory.path()), slices.slices, like, world).value();
    tier->begin(info, -1);
    const Status failure = end_of(*tier, info.step);
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
  info.algorithms = table(MemoryTier::kAlgorithmBytes + MemoryTier::kLinesBytes + 10000);
  const Status failed = snapshot(like, info);
  EXPECT_EQ(failed.code(), Code::kStorage);
  EXPECT_NE(failed.message().find("algorithms of matrix products"), std::string::npos)
      << failed.message();
}

// One exchange is late, and later ones are not.
TEST(MemoryTier, AGroupThatFailedIsMadeAnew) {
  const TemporaryDirectory directory;
  run_ranks(2, {.timeout_s = 0.5}, [&](Communicator& world) {
    RankSlices slices = whole_slices({{"w", Shape{4, 6}}});
    MemoryTierOptions options = two_nodes(directory.path());
    options.chunk_bytes = 64;
    bool late = world.rank() == 1;
    options.wait_for_slices = [&late]() -> Status {
      if (std::exchange(late, false)) std::this_thread::sleep_for(std::chrono::milliseconds(900));
      return ok_status();
    };
    const auto tier = MemoryTier::create(options, slices.slices, sample_info(1), world).value();
    EXPECT_TRUE(tier->can_exchange());
    tier->begin(sample_info(1), -1);
    const Status failure = end_of(*tier, 1);
    EXPECT_EQ(failure.code(), Code::kUnavailable) << failure.message();
    EXPECT_EQ(tier->captured_step(), 1);
    EXPECT_FALSE(tier->can_exchange());
    EXPECT_TRUE(world.health().ok());
    throw_if_error(tier->renew(world));
    EXPECT_TRUE(tier->can_exchange());
    tier->begin(sample_info(2), -1);
    EXPECT_TRUE(end_of(*tier, 2).ok());
    EXPECT_EQ(tier->whole_step(), 2);
  });
}

// A memory of `limit_bytes`: what lies in the directory is used.
SlotDirectory limited(const std::string& path, int64_t limit_bytes) {
  return {path, [limit_bytes](const std::string& directory) -> Result<int64_t> {
            int64_t used = 0;
            for (const auto& entry : std::filesystem::directory_iterator(directory)) {
              std::error_code gone;
              const auto size = static_cast<int64_t>(entry.file_size(gone));
              if (!gone) used += size;
            }
            return std::max<int64_t>(limit_bytes - used, 0);
          }};
}

// A tier of generation 5 beside 3000 bytes of generation 4 in each node's memory. Slots of rank 0
// at the start, after the first snapshot, and after growing; or the refusal.
std::string slots_with(int64_t limit_bytes, bool from_memory, bool must_fit = false) {
  const TemporaryDirectory directory;
  std::string result;
  for (const std::string node : {"a", "b"}) {
    const std::string older = slot_name(lineage_prefix("abc"), {.generation = 4, .node = node});
    if (from_memory) SnapshotSlot::reserve({directory.path()}, older, 3000).value();
  }
  const auto num_older = [&] {
    int64_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(directory.path()))
      count += entry.path().string().find("-g4-") != std::string::npos;
    return count;
  };
  run_ranks(2, {}, [&](Communicator& world) {
    RankSlices slices = whole_slices({{"w", Shape{4, 60}}});
    MemoryTierOptions options = two_nodes(directory.path());
    options.directory = limited(directory.path(), limit_bytes);
    options.from_memory = from_memory;
    options.must_fit = must_fit;
    auto made = MemoryTier::create(options, slices.slices, sample_info(1), world);
    const auto say = [&](const std::string& text) {
      if (world.rank() == 0) result += text;
    };
    if (!made.ok()) {
      EXPECT_EQ(made.status().code(), must_fit ? Code::kBadConfig : Code::kStorage);
      return say(made.status().message());
    }
    MemoryTier& tier = **made;
    const auto device = CpuDevice::create({});
    const auto stream = device->create_stream("test").value();
    say(fmt::format("{}", tier.num_slots()));
    if (!from_memory) return;
    EXPECT_EQ(num_older(), 2);
    EXPECT_TRUE(tier.can_begin(-1, tier.num_slots()));
    tier.begin(sample_info(1), -1);
    EXPECT_TRUE(end_of(tier, 1).ok());
    EXPECT_EQ(num_older(), 2);
    throw_if_error(barrier(world, *stream, Deadline::after_s(kLimitS)));
    EXPECT_FALSE(tier.can_begin(1, tier.num_slots()));
    tier.begin_growth(2);
    const Status grown = end_of(tier, 2);
    EXPECT_EQ(num_older(), 0);
    say(fmt::format(" then {}", tier.num_slots()));
    EXPECT_EQ(grown.ok(), tier.num_slots() > 1) << grown.message();
    if (!grown.ok()) return;
    EXPECT_TRUE(tier.can_begin(1, tier.num_slots()));
    tier.begin(sample_info(3), 1);
    EXPECT_TRUE(end_of(tier, 3).ok());
    EXPECT_EQ(tier.whole_step(), 3);
  });
  if (!result.starts_with("node")) return result;
  // A refused start gives back what it reserved.
  for (const auto& entry : std::filesystem::directory_iterator(directory.path()))
    EXPECT_NE(entry.path().string().find("-g4-"), std::string::npos) << entry.path();
  return result;
}

TEST(MemoryTier, ReservesWhatFitsAndGrowsOnceItHasCommitted) {
  // A share is the data (2880 bytes and a header) and its description, about 12 kB: 5 for each
  // node, in one memory.
  EXPECT_EQ(slots_with(1 << 20, false), "3");
  EXPECT_EQ(slots_with(1 << 20, true), "1 then 3");
  int64_t too_small = 20000, least = 1 << 20;
  while (least - too_small > 2000) {
    const int64_t middle = (least + too_small) / 2;
    (slots_with(middle, false, true) == "3" ? least : too_small) = middle;
  }
  EXPECT_EQ(slots_with(least, true), "1 then 3");
  EXPECT_EQ(slots_with(least * 85 / 100, false), "2");
  EXPECT_EQ(slots_with(least * 85 / 100, true), "1 then 2");
}

TEST(MemoryTier, ARefusalNamesTheNodeTheSumAndTheWayOut) {
  const std::string refusal = slots_with(20000, false, true);
  for (const char* part : {"node a: ", "the ranks of a and b", "20000 bytes left", "are needed",
                           "remount,size", "leasehold clean", "checkpoint.snapshot"})
    EXPECT_NE(refusal.find(part), std::string::npos) << refusal;
  EXPECT_NE(slots_with(20000, false).find("the ranks of a and b"), std::string::npos);
  const std::string beside = slots_with(20000, true);
  EXPECT_NE(beside.find("6000 are kept that the state was restored from"), std::string::npos)
      << beside;
}

}  // namespace
}  // namespace leasehold
