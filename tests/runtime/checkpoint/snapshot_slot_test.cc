// Slots in shared memory, their names, and what they say of themselves.
#include "runtime/checkpoint/snapshot_slot.h"

#include <cstring>
#include <filesystem>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "runtime/base/files.h"
#include "runtime/checkpoint/snapshot_description.h"
#include "tests/support/temporary_directory.h"

namespace leasehold {
namespace {

const std::string kPrefix = "leasehold-0123456789abcdef-";

TEST(SlotName, SurvivesTheWay) {
  for (const SlotName& name :
       {SlotName{.generation = 3, .rank = 12, .is_copy = false, .index = 2, .node = "texas-a.x"},
        SlotName{.generation = 100, .rank = 0, .is_copy = true, .index = 0, .node = "b@-own-1"}}) {
    EXPECT_EQ(parse_slot_name(kPrefix, slot_name(kPrefix, name)), name);
  }
  EXPECT_EQ(slot_name(kPrefix, {.generation = 3, .rank = 0, .index = 1, .node = "a"}),
            kPrefix + "g3-r0-own-1@a");
}

TEST(SlotName, OthersAreNone) {
  for (const char* bad : {"", "g1-r0-own-0@", "g1-r0-own-0", "g-r0-own-0@a", "g1-r-1-own-0@a",
                          "g1-r0-other-0@a", "g99999999999999999999-r0-own-0@a"}) {
    EXPECT_EQ(parse_slot_name(kPrefix, kPrefix + bad), std::nullopt) << bad;
  }
  EXPECT_EQ(parse_slot_name(kPrefix, "leasehold-1123456789abcdef-g1-r0-own-0@a"), std::nullopt);
}

TEST(RunPrefix, BelongsToTheDirectoryHoweverItIsWritten) {
  const TemporaryDirectory directory;
  std::filesystem::create_directories(directory / "runs/a");
  EXPECT_EQ(run_prefix(directory / "runs/a"), run_prefix(directory / "runs/../runs/a/."));
  EXPECT_NE(run_prefix(directory / "runs/a"), run_prefix(directory / "runs/b"));
}

class SnapshotSlotTest : public testing::Test {
 protected:
  std::string name(int64_t generation) {
    return slot_name(kPrefix, {.generation = generation, .node = "a"});
  }
  std::vector<std::string> slots() { return list_slots(memory_, kPrefix).value(); }

  TemporaryDirectory directory_;
  std::string memory_ = directory_ / ".";
};

TEST_F(SnapshotSlotTest, HoldsSomethingOnlyWhileItIsDescribed) {
  const auto slot = SnapshotSlot::reserve(memory_, name(1), 10000).value();
  EXPECT_TRUE(slots().empty());
  std::memset(slot->data(), 7, 10000);
  ASSERT_TRUE(slot->publish("{}\n").ok());
  EXPECT_EQ(slots(), std::vector<std::string>{name(1)});
  ASSERT_TRUE(slot->invalidate().ok());
  EXPECT_TRUE(slots().empty());
  EXPECT_TRUE(slot->invalidate().ok());
}

TEST_F(SnapshotSlotTest, OutlivesItsProcessAndIsItsOwnersAlone) {
  {
    const auto slot = SnapshotSlot::reserve(memory_, name(1), 10000).value();
    std::memset(slot->data(), 7, 10000);
    ASSERT_TRUE(slot->publish("{}\n").ok());
  }
  for (const char* suffix : {".safetensors", ".json"}) {
    struct stat status {};
    ASSERT_EQ(::stat((directory_ / (name(1) + suffix)).c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600u) << suffix;
  }
  EXPECT_EQ(read_file(posix_files(), directory_ / (name(1) + ".safetensors")).value(),
            std::string(10000, 7));
  // Reserving it anew takes it away.
  const auto again = SnapshotSlot::reserve(memory_, name(1), 5000).value();
  EXPECT_TRUE(slots().empty());
}

TEST_F(SnapshotSlotTest, TooLittleMemoryIsRefusedBeforeStepZero) {
  const auto slot = SnapshotSlot::reserve(memory_, name(1), int64_t{1} << 55);
  ASSERT_FALSE(slot.ok());
  // EFBIG where the file system has a limit of its own.
  const bool refused =
      slot.status().code() == Code::kBadConfig || slot.status().code() == Code::kStorage;
  EXPECT_TRUE(refused) << slot.status().message();
  EXPECT_TRUE(std::filesystem::is_empty(memory_));
}

TEST_F(SnapshotSlotTest, RemovesWhatIsSurplusAndNothingElse) {
  for (const int64_t generation : {1, 2}) {
    ASSERT_TRUE(
        SnapshotSlot::reserve(memory_, name(generation), 1000).value()->publish("{}\n").ok());
  }
  ASSERT_TRUE(posix_files().append_line(directory_ / "leasehold-of-others", "x").ok());
  const auto freed =
      remove_slots(memory_, kPrefix, [](const SlotName& slot) { return slot.generation < 2; });
  ASSERT_TRUE(freed.ok());
  EXPECT_GE(*freed, 1000);
  EXPECT_EQ(slots(), std::vector<std::string>{name(2)});
  EXPECT_TRUE(std::filesystem::exists(directory_ / "leasehold-of-others"));
  EXPECT_TRUE(
      remove_slots(directory_ / "absent", kPrefix, [](const SlotName&) { return true; }).ok());
}

SnapshotDescription sample() {
  SnapshotDescription snapshot;
  snapshot.info.step = 7;
  snapshot.info.lineage = "abc";
  snapshot.info.metrics_line = "{\"step\": 7}";
  snapshot.world_size = 2;
  snapshot.rank = 1;
  snapshot.shard.file = {"shard-00001-of-00002.safetensors", 4096};
  snapshot.shard.tensors.push_back(
      {"w", StateKind::kWeight, Shape{4}, {{{Box::whole(Shape{4}), 2, 4}, 0, "w/weight@2:4", {}}}});
  return snapshot;
}

TEST(SnapshotDescription, SurvivesTheWayAlsoPadded) {
  const std::string text = encode_snapshot(sample()).value();
  EXPECT_EQ(parse_snapshot(text, "x").value(), sample());
  EXPECT_EQ(parse_snapshot(text + "    ", "x").value(), sample());
}

TEST(SnapshotDescription, CarriesTheAlgorithms) {
  SnapshotDescription snapshot = sample();
  snapshot.info.algorithms = "algorithms of x\nforward 1 = 2\n";
  EXPECT_EQ(parse_snapshot(encode_snapshot(snapshot).value(), "x").value(), snapshot);
  EXPECT_EQ(encode_snapshot(sample())->find("algorithms"), std::string::npos);
}

TEST(SnapshotDescription, EveryChangedByteIsSeen) {
  const std::string text = encode_snapshot(sample()).value();
  for (size_t i = 0; i + 1 < text.size(); ++i) {
    std::string damaged = text;
    damaged[i] = static_cast<char>(damaged[i] ^ 1);
    const auto parsed = parse_snapshot(damaged, "x");
    EXPECT_TRUE(!parsed.ok() && parsed.status().code() == Code::kBadData) << i << ": " << damaged;
    EXPECT_FALSE(parse_snapshot(text.substr(0, i), "x").ok()) << i;
  }
}

}  // namespace
}  // namespace leasehold
