// Tests that copies of the state may be lost or damaged, and the disk full: bad copies are found
// and named, and the next best is used.
#include <filesystem>
#include <fstream>
#include <sys/mount.h>
#include <unistd.h>

#include "runtime/base/files.h"
#include "tests/end_to_end/launch_fixture.h"

namespace leasehold {
namespace {

class LaunchStorageTest : public LaunchFixture {
 protected:
  void launch_on_two_nodes() {
    write_calendar({{"owned-1"}, {"texas-a"}});
    launch();
  }

  // Returns the newest event of this name.
  RunEvent newest(const std::string& name) {
    const auto found = run_events(name);
    return found.empty() ? RunEvent{} : found.back();
  }

  // Kills everything after `step`, loses the memory, hurts the newest checkpoint, and starts the
  // run again.
  void lose_memory_and(int64_t step, const std::function<void(const std::string&)>& hurt) {
    ASSERT_TRUE(wait_step(step)) << supervisor().errors();
    ASSERT_TRUE(wait_until([&] { return checkpoint_step(newest_checkpoint()) >= step - 40; }));
    kill_all();
    for (const std::string& path : memory_files()) ::unlink(path.c_str());
    const std::string checkpoint = newest_checkpoint();
    hurt(checkpoint);
    const size_t restored = run_events("restored").size();
    launch();
    ASSERT_TRUE(wait_event("restored", restored + 1)) << supervisor().errors() << events(run_);
    const RunEvent last = newest("restored");
    EXPECT_NE(last.reason.find("/checkpoints/step-"), std::string::npos) << last.reason;
    EXPECT_LT(std::stoll(last.details.at("step")), checkpoint_step(checkpoint)) << last.reason;
  }

  static int64_t checkpoint_step(const std::string& path) {
    const size_t at = path.rfind("step-");
    return at == std::string::npos ? -1 : std::stoll(path.substr(at + 5));
  }
};

TEST_F(LaunchStorageTest, BothHoldersAreLostAndFilesAreUsed) {
  launch_on_two_nodes();
  ASSERT_TRUE(wait_event("checkpoint_saved")) << supervisor().errors();
  const int64_t before = last_step();
  ASSERT_TRUE(wait_step(before + 5));
  kill_node("owned-1");
  kill_node("texas-a");
  ASSERT_TRUE(wait_event("restored")) << supervisor().errors();
  EXPECT_NE(newest("restored").reason.find("/checkpoints/step-"), std::string::npos)
      << newest("restored").reason;
  expect_like_undisturbed();
}

TEST_F(LaunchStorageTest, AFlippedBitInAReplicaIsFoundAndAnotherCopyUsed) {
  launch_on_two_nodes();
  ASSERT_TRUE(wait_step(60)) << supervisor().errors();
  kill_all();
  int hurt = 0;
  for (const std::string& path : memory_files("owned-1")) {
    const bool own = path.find("-r0-own-") != std::string::npos;
    if (!own || !path.ends_with(".safetensors")) continue;
    flip_bit(path, static_cast<int64_t>(std::filesystem::file_size(path)) / 2);
    ++hurt;
  }
  ASSERT_GT(hurt, 0);
  launch();
  ASSERT_TRUE(wait_event("restored")) << supervisor().errors();
  EXPECT_NE(newest("restored").reason.find("as a partner's copy"), std::string::npos)
      << newest("restored").reason;
  EXPECT_NE(newest("checkpoint_rejected").details["checkpoint"].find("owned-1"), std::string::npos)
      << events(run_);
  expect_like_undisturbed();
}

TEST_F(LaunchStorageTest, DamagedCheckpointsAreFoundAndOlderOnesUsed) {
  const auto shard = [](const std::string& checkpoint) {
    return checkpoint + "/shard-00001-of-00002.safetensors";
  };
  launch_on_two_nodes();
  lose_memory_and(90, [&](const std::string& checkpoint) {
    const auto middle = static_cast<int64_t>(std::filesystem::file_size(shard(checkpoint))) / 2;
    flip_bit(shard(checkpoint), middle);
  });
  EXPECT_NE(newest("checkpoint_rejected").reason.find("shard-00001"), std::string::npos)
      << events(run_);
  lose_memory_and(170, [](const std::string& checkpoint) {
    std::filesystem::remove(checkpoint + "/manifest.json");
  });
  lose_memory_and(250, [&](const std::string& checkpoint) {
    std::filesystem::resize_file(shard(checkpoint), 5000);
  });
  expect_like_undisturbed();
}

TEST_F(LaunchStorageTest, AFullDiskFailsASaveAndTrainingGoesOn) {
  const std::string disk = directory_ / "disk";
  std::filesystem::create_directories(disk);
  if (::geteuid() != 0 || ::mount("none", disk.c_str(), "tmpfs", 0, "size=6m") != 0) {
    GTEST_SKIP() << "a small file system needs root and mount(2)";
  }
  run_ = "disk/run";
  {
    // Leave room for the logs, but not for a checkpoint.
    std::ofstream filler(disk + "/filler");
    const std::string block(1 << 16, 'x');
    const auto room = [&] { return std::filesystem::space(disk).available; };
    while (room() > 300'000 && filler.write(block.data(), std::ssize(block)).flush()) {
    }
  }
  launch_on_two_nodes();
  EXPECT_TRUE(wait_event("save_failed")) << supervisor().errors() << events(run_);
  const int64_t failed_at = last_step();
  EXPECT_NE(newest("save_failed").reason.find("No space left"), std::string::npos);
  EXPECT_TRUE(run_events("checkpoint_saved").empty());
  EXPECT_TRUE(wait_step(failed_at + 5)) << "training must go on";
  std::filesystem::remove(disk + "/filler");
  EXPECT_TRUE(wait_event("checkpoint_saved")) << supervisor().errors();
  expect_like_undisturbed();
  EXPECT_EQ(run_events("generation_started").size(), 1U) << events(run_);
  EXPECT_EQ(::umount2(disk.c_str(), MNT_DETACH), 0);
}

}  // namespace
}  // namespace leasehold
