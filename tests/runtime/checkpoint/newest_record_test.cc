// Finds a run's newest state, in run.dir and in memory.
#include "runtime/checkpoint/newest_record.h"

#include <filesystem>
#include <gtest/gtest.h>

#include "runtime/checkpoint/run_key.h"
#include "runtime/checkpoint/snapshot_description.h"
#include "runtime/checkpoint/snapshot_slot.h"
#include "tests/runtime/checkpoint/sample_state.h"
#include "tests/support/temporary_directory.h"

namespace leasehold {
namespace {

class NewestRecordTest : public testing::Test {
 protected:
  NewestRecordTest() { std::filesystem::create_directories(run_dir_); }

  static CheckpointInfo info(int64_t step, const std::string& kernel_set) {
    CheckpointInfo made = sample_info(step);
    made.cpu_kernels = kernel_set;
    return made;
  }
  // A snapshot's description in memory; its data does not matter here.
  void publish(const CheckpointInfo& of, const std::string& node, bool forged = false) {
    const std::string slot =
        slot_name(lineage_prefix(of.lineage), {.generation = of.step, .node = node});
    SnapshotDescription description{.info = of, .world_size = 1};
    description.shard.file = {"shard.safetensors", 10};
    const auto text = encode_snapshot(description);
    ASSERT_TRUE(text.ok()) << text.status().message();
    const SecretKey key = forged ? SecretKey::make().value() : load_run_key(run_dir_).value();
    ASSERT_TRUE(SnapshotSlot::reserve({memory_}, slot, 10)
                    .value()
                    ->publish(seal_snapshot(*text, key))
                    .ok());
  }
  void set_lineage(const std::string& lineage) {
    throw_if_error(publish_file(posix_files(), run_dir_ + "/lineage", lineage + "\n", "test"));
  }
  std::string newest(const std::string& memory, const std::string& node = "a") {
    const auto found = find_newest_record(posix_files(), run_dir_, memory, node);
    return found ? fmt::format("{} {}", found->info.step, found->info.cpu_kernels) : "none";
  }

  TemporaryDirectory directory_;
  std::string run_dir_ = directory_ / "run";
  std::string memory_ = directory_ / ".";
};

TEST_F(NewestRecordTest, IsTheCheckpointOrTheSnapshotOfTheLaterStep) {
  EXPECT_EQ(newest(memory_), "none");
  ASSERT_TRUE(
      save_whole(posix_files(), run_dir_, info(5, "Haswell"), random_state(sample_shapes(), 1))
          .ok());
  EXPECT_EQ(newest(""), "5 Haswell");
  set_lineage(info(5, "").lineage);
  publish(info(4, "Nehalem"), "a");
  EXPECT_EQ(newest(memory_), "5 Haswell");
  publish(info(7, "SkylakeX"), "a");
  EXPECT_EQ(newest(memory_), "7 SkylakeX");
  EXPECT_EQ(newest(memory_, "b"), "5 Haswell");  // another node's
  EXPECT_EQ(newest(""), "5 Haswell");
  set_lineage("another");
  EXPECT_EQ(newest(memory_), "5 Haswell");
}

TEST_F(NewestRecordTest, PassesOverWhatCannotBeRead) {
  set_lineage(info(5, "").lineage);
  publish(info(5, "Haswell"), "a");
  std::filesystem::create_directories(run_dir_ + "/checkpoints/step-00000009");
  const std::string slot =
      slot_name(lineage_prefix(info(5, "").lineage), {.generation = 9, .node = "a"});
  ASSERT_TRUE(SnapshotSlot::reserve({memory_}, slot, 10).value()->publish("{}\n").ok());
  publish(info(8, "Forged"), "a", /*forged=*/true);
  EXPECT_EQ(newest(memory_), "5 Haswell");
}

}  // namespace
}  // namespace leasehold
