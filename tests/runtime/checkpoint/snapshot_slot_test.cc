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

TEST(LineagePrefix, BelongsToTheLineageAlone) {
  EXPECT_EQ(lineage_prefix("abc"), lineage_prefix("abc"));
  EXPECT_NE(lineage_prefix("abc"), lineage_prefix("abd"));
  EXPECT_TRUE(parse_slot_name(lineage_prefix("abc"), lineage_prefix("abc") + "g1-r0-own-0@a"));
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
  const auto slot = SnapshotSlot::reserve({memory_}, name(1), 10000).value();
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
    const auto slot = SnapshotSlot::reserve({memory_}, name(1), 10000).value();
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
  const auto again = SnapshotSlot::reserve({memory_}, name(1), 5000).value();
  EXPECT_TRUE(slots().empty());
}

TEST_F(SnapshotSlotTest, TooLittleMemoryIsRefusedBeforeStepZero) {
  const auto slot = SnapshotSlot::reserve({memory_}, name(1), int64_t{1} << 55);
  ASSERT_FALSE(slot.ok());
  EXPECT_EQ(slot.status().code(), Code::kStorage);
  EXPECT_NE(slot.status().message().find(memory_), std::string::npos) << slot.status().message();
  EXPECT_TRUE(std::filesystem::is_empty(memory_));
}

TEST_F(SnapshotSlotTest, RemovesWhatIsSurplusAndNothingElse) {
  for (const int64_t generation : {1, 2}) {
    ASSERT_TRUE(
        SnapshotSlot::reserve({memory_}, name(generation), 1000).value()->publish("{}\n").ok());
  }
  ASSERT_TRUE(posix_files().append_line(directory_ / "leasehold-of-others", "x").ok());
  const auto freed = remove_slots(memory_, kPrefix, [](const std::string&, const SlotName& slot) {
    return slot.generation < 2;
  });
  ASSERT_TRUE(freed.ok());
  EXPECT_GE(*freed, 1000);
  EXPECT_EQ(slots(), std::vector<std::string>{name(2)});
  EXPECT_TRUE(std::filesystem::exists(directory_ / "leasehold-of-others"));
  EXPECT_TRUE(remove_slots(directory_ / "absent", kPrefix, [](const std::string&, const SlotName&) {
                return true;
              }).ok());
}

// In a directory to which everybody may write.
TEST_F(SnapshotSlotTest, OnlyPrivateFilesOfThisUserAreRead) {
  const auto reason = [&] {
    const auto read = read_slot(memory_, name(1));
    EXPECT_EQ(read.status().code(), Code::kBadData);
    return read.status().message();
  };
  const std::string path = directory_ / (name(1) + ".json");
  ASSERT_TRUE(SnapshotSlot::reserve({memory_}, name(1), 100).value()->publish("words\n").ok());
  EXPECT_EQ(read_slot(memory_, name(1)).value(), "words\n");
  ASSERT_EQ(::chmod(path.c_str(), 0644), 0);
  EXPECT_NE(reason().find("mode 644"), std::string::npos) << reason();
  ASSERT_EQ(::chmod(path.c_str(), 0600), 0);
  std::filesystem::create_hard_link(path, directory_ / "second");
  EXPECT_NE(reason().find("2 names"), std::string::npos) << reason();
  std::filesystem::remove(path);
  std::filesystem::create_symlink(directory_ / "second", path);
  EXPECT_NE(reason().find("symbolic link"), std::string::npos) << reason();
  std::filesystem::remove(path);
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  EXPECT_NE(reason().find("not a regular file"), std::string::npos) << reason();
}

TEST_F(SnapshotSlotTest, AnotherUsersFilesAreNamedAndPassedOver) {
  constexpr uid_t kNobody = 65534;
  const std::string shard = directory_ / (name(1) + ".safetensors");
  const std::string words = directory_ / (name(1) + ".json");
  for (const std::string& path : {shard, words})
    throw_if_error(publish_file(posix_files(), path, "x", "test"));
  if (::chown(words.c_str(), kNobody, kNobody) != 0) GTEST_SKIP() << "giving files away needs root";
  ::chmod(words.c_str(), 0600);
  const auto read = read_slot(memory_, name(1));
  EXPECT_EQ(read.status().code(), Code::kBadData);
  EXPECT_NE(read.status().message().find("belongs to user 65534"), std::string::npos)
      << read.status().message();
}

// A link or a name that somebody else put there before ends nothing and is not followed.
TEST_F(SnapshotSlotTest, ALinkInTheWayIsNotWrittenThrough) {
  const std::string victim = directory_ / "victim";
  throw_if_error(publish_file(posix_files(), victim, "precious", "test"));
  for (const char* suffix : {".safetensors", ".json", ".json.tmp"})
    std::filesystem::create_symlink(victim, directory_ / (name(1) + suffix));
  const auto slot = SnapshotSlot::reserve({memory_}, name(1), 1000);
  ASSERT_TRUE(slot.ok()) << slot.status().message();
  std::memset((*slot)->data(), 7, 1000);
  std::filesystem::create_symlink(victim, directory_ / (name(1) + ".json.tmp"));
  ASSERT_TRUE((*slot)->publish("words\n").ok());
  EXPECT_EQ(read_slot(memory_, name(1)).value(), "words\n");
  EXPECT_EQ(read_file(posix_files(), victim).value(), "precious");
}

TEST_F(SnapshotSlotTest, ANameThatIsTakenForGoodNamesItsOwnerAndTheWayOut) {
  std::filesystem::create_directory(directory_ / (name(1) + ".safetensors"));
  const auto slot = SnapshotSlot::reserve({memory_}, name(1), 1000);
  EXPECT_EQ(slot.status().code(), Code::kStorage);
  EXPECT_NE(slot.status().message().find(fmt::format("belongs to user {}", ::geteuid())),
            std::string::npos)
      << slot.status().message();
  EXPECT_NE(slot.status().message().find("checkpoint.snapshot"), std::string::npos);
}

TEST_F(SnapshotSlotTest, WhatIsGivenBackIsGone) {
  SnapshotSlot::reserve({memory_}, name(1), 1000).value()->remove();
  EXPECT_TRUE(std::filesystem::is_empty(memory_));
}

TEST_F(SnapshotSlotTest, IndicesAreDrawn) { EXPECT_NE(draw_slot_index(), draw_slot_index()); }

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

TEST(SnapshotDescription, IsBelievedUnderItsSealAlone) {
  const SecretKey key = SecretKey::make().value(), other = SecretKey::make().value();
  const std::string text = encode_snapshot(sample()).value();
  const std::string sealed = seal_snapshot(text, key);
  EXPECT_EQ(std::ssize(sealed), std::ssize(text) + kSealBytes);
  EXPECT_EQ(unseal_snapshot(sealed, key, "x").value(), text);
  EXPECT_EQ(unseal_snapshot(sealed, other, "x").status().code(), Code::kBadData);
  for (size_t i = 0; i < sealed.size(); i += 7) {
    std::string damaged = sealed;
    damaged[i] = static_cast<char>(damaged[i] ^ 1);
    EXPECT_FALSE(unseal_snapshot(damaged, key, "x").ok()) << i;
    EXPECT_FALSE(unseal_snapshot(sealed.substr(0, i), key, "x").ok()) << i;
  }
  // A sound description that somebody made without the key.
  SnapshotDescription forged = sample();
  forged.info.step = 1000;
  const std::string mac = sealed.substr(text.size());
  EXPECT_FALSE(unseal_snapshot(encode_snapshot(forged).value() + mac, key, "x").ok());
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
