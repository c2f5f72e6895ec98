// Saves of a whole run on storage that is full, slow or hangs: the run goes on, what failed is
// tried again when its event says, and the exit code tells what there is.
#include <algorithm>
#include <atomic>
#include <filesystem>
#include <thread>

#include "tests/runtime/train/trainer_fixture.h"
#include "tests/support/faulty_files.h"
#include "tests/support/held_files.h"

namespace leasehold {
namespace {

namespace fs = std::filesystem;

// Fails every write below checkpoints/ as long as it is said to be full.
class FullFiles : public HeldFiles {
 public:
  FullFiles() : HeldFiles(posix_files()) {}
  Result<std::unique_ptr<WritableFile>> create(const std::string& path) override {
    if (full && path.find("/checkpoints/") != std::string::npos) {
      ++num_refused;
      return error(Code::kStorage, "creating {}: No space left on device", path);
    }
    return HeldFiles::create(path);
  }
  std::atomic<bool> full{false};
  std::atomic<int> num_refused{0};
};

class SleeplessClock : public Clock {
 public:
  double steady_s() override { return system_clock().steady_s(); }
  double unix_s() override { return system_clock().unix_s(); }
  void sleep_s(double) override {}
};

class SavesTest : public TrainerTest {
 protected:
  std::vector<std::string> checkpoints(const std::string& name) {
    return posix_files().list(run_dir(name) + "/checkpoints").value();
  }
  // The numbers that follow a mark in a text.
  std::vector<int64_t> numbers_after(const std::string& text, const std::string& mark) {
    std::vector<int64_t> found;
    for (size_t at = text.find(mark); at != std::string::npos; at = text.find(mark, at + 1))
      found.push_back(std::stoll(text.substr(at + mark.size())));
    return found;
  }
};

TEST_F(SavesTest, WithoutSnapshotsAFullDiskDoesNotEndTheRun) {
  ASSERT_TRUE(generation("undisturbed", {}).ok());
  FullFiles files;
  files.full = true;
  RunSettings settings = {.ranks = 2, .checkpoint_every = 2};
  settings.on_step = [&](const StepMetrics& metrics, DrainRequest&) {
    if (metrics.step == 6) files.full = false;
  };
  const Status done = generation("full", settings, files);
  EXPECT_TRUE(done.ok()) << done.message();
  const std::string log = events("full");
  // Fails after 2, 3 and 5 (waits of 1, 2 and 4 steps); after 9 there is room.
  EXPECT_EQ(numbers_after(log, "the next try is after step "), (std::vector<int64_t>{3, 5, 9}));
  EXPECT_NE(log.find("No space left on device"), std::string::npos);
  EXPECT_NE(log.find("step-00000009"), std::string::npos) << log;
  EXPECT_EQ(metrics("full"), metrics("undisturbed"));
  EXPECT_EQ(state("full"), state("undisturbed"));
}

TEST_F(SavesTest, ALastSaveThatFailsIsTriedAgainAndThenTold) {
  FullFiles files;
  files.full = true;
  SleeplessClock clock;
  RunSettings settings = {.ranks = 2, .stop_after = 3};
  settings.clock = &clock;
  const Status drained = generation("drained", settings, files);
  EXPECT_EQ(drained.code(), Code::kStorage) << drained.message();
  EXPECT_NE(drained.message().find("the state of step 3 is in no checkpoint"), std::string::npos)
      << drained.message();
  EXPECT_GE(files.num_refused, 4);
  files.full = false;
  EXPECT_EQ(generation("drained", settings, files).code(), Code::kDrained);
}

// 75 is said where a checkpoint of the newest step exists, and only there: 74 where it could not be
// written. With snapshots and without, in whichever phase the drain is asked for.
TEST_F(SavesTest, ADrainWhoseSaveFailsIsNone) {
  ASSERT_TRUE(generation("undisturbed", {}).ok());
  for (const SnapshotMode snapshot : {SnapshotMode::kOff, SnapshotMode::kEvery}) {
    for (const bool at_start : {false, true}) {
      FullFiles files;
      files.full = true;
      RunSettings settings = {.ranks = 2, .snapshot = snapshot, .nodes = {"a", "b"}};
      settings.drain_at_start = at_start;
      settings.on_step = [&](const StepMetrics& metrics, DrainRequest& drain) {
        if (metrics.step >= 4) drain.request(10);
      };
      const std::string name = fmt::format("drain-{}-{}", static_cast<int>(snapshot), at_start);
      const Status failed = generation(name, settings, files);
      EXPECT_EQ(failed.exit_code(), 74) << failed.message();
      EXPECT_NE(failed.message().find("is in no checkpoint"), std::string::npos)
          << failed.message();
      EXPECT_EQ(events(name).find("\"drained\""), std::string::npos) << events(name);
      files.full = false;
      const Status drained = generation(name, settings, files);
      EXPECT_EQ(drained.exit_code(), 75) << drained.message();
      const std::string newest = checkpoints(name).back();
      EXPECT_NE(drained.message().find(
                    fmt::format("after step {} of", parse_checkpoint_name(newest).value())),
                std::string::npos)
          << newest << ": " << drained.message();
      EXPECT_EQ(newest == "step-00000000", at_start);
      EXPECT_TRUE(generation(name, {}).ok());
      EXPECT_EQ(metrics(name), metrics("undisturbed"));
      EXPECT_EQ(state(name), state("undisturbed"));
    }
  }
}

TEST_F(SavesTest, InTheBackgroundAFirstSaveThatFailsIsTriedAgain) {
  FullFiles files;
  files.full = true;
  RunSettings settings = {.ranks = 2,
                          .checkpoint_auto = true,
                          .snapshot = SnapshotMode::kAuto,
                          .nodes = {"a", "b"},
                          .steps = 400};
  settings.validate_every = 0;
  int64_t failed_by = 0;
  settings.on_step = [&](const StepMetrics& metrics, DrainRequest& drain) {
    if (files.num_refused >= 4 && failed_by == 0) failed_by = metrics.step;
    if (failed_by > 0) files.full = false;
    const bool saved = fs::exists(run_dir("background") + "/checkpoints") &&
                       std::ranges::any_of(checkpoints("background"), [](const std::string& name) {
                         return name.starts_with("step-");
                       });
    if (saved) drain.request(10);
  };
  const Status status = generation("background", settings, files);
  EXPECT_EQ(status.code(), Code::kDrained) << status.message() << events("background");
  EXPECT_NE(events("background").find("in the background"), std::string::npos)
      << events("background");
}

// One file of rank 1 hangs: that save is given up, training goes on, and once the file comes back
// later saves of the same generation succeed.
TEST_F(SavesTest, ASaveThatHangsCostsThatSaveOnly) {
  constexpr int64_t kManySteps = 40;
  ASSERT_TRUE(generation("undisturbed", {.steps = kManySteps}).ok());
  FullFiles files;
  files.hold("shard-00001");
  RunSettings settings = {.ranks = 2,
                          .checkpoint_every = 2,
                          .snapshot = SnapshotMode::kEvery,
                          .nodes = {"a", "b"},
                          .steps = kManySteps,
                          .stall_s = 0.2};
  settings.on_step = [&](const StepMetrics& metrics, DrainRequest&) {
    const auto told = [&] { return events("hung").find("save_failed") != std::string::npos; };
    // Slowly, so that the save is given up while steps are left.
    if (metrics.step >= 4 && !told()) system_clock().sleep_s(0.3);
    if (told()) files.release();
    if (told()) system_clock().sleep_s(0.02);
  };
  const Status done = generation("hung", settings, files);
  files.release();
  EXPECT_TRUE(done.ok()) << done.message();
  const std::string log = events("hung");
  EXPECT_NE(log.find("has not got on"), std::string::npos) << log;
  EXPECT_NE(log.find("rank 1"), std::string::npos) << log;
  const size_t failed = log.find("save_failed");
  EXPECT_NE(log.find("periodic, in the background", failed), std::string::npos) << log;
  EXPECT_EQ(metrics("hung"), metrics("undisturbed"));
  EXPECT_EQ(state("hung", kManySteps), state("undisturbed", kManySteps));
}

// The save before the ranks leave waits for one that was given up, and hangs still, as long as for
// its own files.
TEST_F(SavesTest, ALastSaveWaitsForAnEarlierOneThatHangs) {
  FullFiles files;
  files.hold("shard-00001");
  SleeplessClock clock;
  std::thread storage;
  RunSettings settings = {.ranks = 2,
                          .checkpoint_every = 2,
                          .snapshot = SnapshotMode::kEvery,
                          .nodes = {"a", "b"},
                          .steps = 1000,
                          .stall_s = 1};
  settings.validate_every = 0;
  settings.clock = &clock;
  settings.on_step = [&](const StepMetrics&, DrainRequest& drain) {
    system_clock().sleep_s(0.02);
    if (storage.joinable() || events("last").find("save_failed") == std::string::npos) return;
    storage = std::thread([&] {
      system_clock().sleep_s(0.5);
      files.release();
    });
    drain.request(10);
  };
  const Status drained = generation("last", settings, files);
  files.release();
  ASSERT_TRUE(storage.joinable());
  storage.join();
  EXPECT_EQ(drained.code(), Code::kDrained) << drained.message() << events("last");
  const std::string log = events("last");
  EXPECT_NE(log.find("checkpoint_saved", log.find("save_failed")), std::string::npos) << log;
}

// For longer than the deadline of a collective the other rank has nothing to do.
TEST_F(SavesTest, ASlowSaveAndASlowRestoreAreWaitedFor) {
  FullFiles files;
  files.slow_down("shard-00001", 0.012);
  RunSettings settings = {.ranks = 2, .stop_after = 3, .stall_s = 5};
  settings.timeout_s = 0.5;
  EXPECT_EQ(generation("slow", settings, files).code(), Code::kDrained);
  settings.stop_after = 4;
  EXPECT_EQ(generation("slow", settings, files).code(), Code::kDrained);
  EXPECT_NE(events("slow").find("step 3 from"), std::string::npos) << events("slow");
}

TEST_F(SavesTest, MilestonesStay) {
  RunSettings settings = {.ranks = 2, .checkpoint_every = 2};
  settings.keep_every = 4;
  ASSERT_TRUE(generation("milestones", settings).ok());
  EXPECT_EQ(checkpoints("milestones"),
            (std::vector<std::string>{"step-00000004", "step-00000008", "step-00000010",
                                      "step-00000012"}));
}

}  // namespace
}  // namespace leasehold
