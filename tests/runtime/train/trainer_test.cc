// A whole run over thread ranks: stopped and resumed on other numbers of ranks it leaves the same
// metrics and the same state as the run that nobody disturbed.
#include <filesystem>

#include "tests/runtime/train/trainer_fixture.h"
#include "tests/support/held_files.h"

namespace leasehold {
namespace {

TEST_F(TrainerTest, ResumedOnOtherNumbersOfRanksItIsTheSameRun) {
  ASSERT_TRUE(generation("undisturbed", {}).ok());
  ASSERT_EQ(metrics("undisturbed").size(), static_cast<size_t>(kSteps));
  EXPECT_EQ(generation("moved", {.ranks = 3, .stop_after = 3}).code(), Code::kDrained);
  EXPECT_EQ(generation("moved", {.ranks = 1, .zero_stage = 0, .stop_after = 4}).code(),
            Code::kDrained);
  EXPECT_EQ(generation("moved", {.ranks = 5, .stop_after = 9}).code(), Code::kDrained);
  EXPECT_TRUE(generation("moved", {.ranks = 2, .zero_stage = 0}).ok());
  EXPECT_EQ(metrics("moved"), metrics("undisturbed"));
  EXPECT_EQ(state("moved"), state("undisturbed"));
}

TEST_F(TrainerTest, StartingADoneRunAgainChangesNothing) {
  ASSERT_TRUE(generation("done", {}).ok());
  const auto before = metrics("done");
  EXPECT_TRUE(generation("done", {.ranks = 2}).ok());
  EXPECT_EQ(metrics("done"), before);
}

TEST_F(TrainerTest, ARequestToDrainSavesAndLosesNothing) {
  ASSERT_TRUE(generation("undisturbed", {}).ok());
  const auto at_step = [](int64_t step) {
    return [step](const StepMetrics& metrics, DrainRequest& drain) {
      if (metrics.step == step) drain.request(10);
    };
  };
  // 3 is followed by a step whose validation is due: the request is honoured inside validation, and
  // its line is owed.
  EXPECT_EQ(generation("drained", {.ranks = 2, .on_step = at_step(3)}).code(), Code::kDrained);
  EXPECT_NE(events("drained").find("signal 10"), std::string::npos);
  EXPECT_EQ(generation("drained", {.ranks = 3, .on_step = at_step(8)}).code(), Code::kDrained);
  EXPECT_TRUE(generation("drained", {}).ok());
  EXPECT_EQ(metrics("drained"), metrics("undisturbed"));
  EXPECT_EQ(state("drained"), state("undisturbed"));
}

TEST_F(TrainerTest, ADamagedNewestCheckpointIsPassedOverAndReplayed) {
  ASSERT_TRUE(generation("undisturbed", {}).ok());
  EXPECT_EQ(generation("damaged", {.ranks = 2, .stop_after = 7, .checkpoint_every = 5}).code(),
            Code::kDrained);
  corrupt(run_dir("damaged") + "/checkpoints/step-00000007/shard-00001-of-00002.safetensors", 4000);
  EXPECT_TRUE(generation("damaged", {.ranks = 3}).ok());
  EXPECT_NE(events("damaged").find("checkpoint_rejected"), std::string::npos);
  EXPECT_NE(events("damaged").find("step 5 from"), std::string::npos);
  EXPECT_EQ(metrics("damaged"), metrics("undisturbed"));
  EXPECT_EQ(state("damaged"), state("undisturbed"));
}

TEST_F(TrainerTest, NoGoodCheckpointIsAnErrorNotAFreshStart) {
  EXPECT_EQ(generation("ruined", {.stop_after = 2}).code(), Code::kDrained);
  corrupt(run_dir("ruined") + "/checkpoints/step-00000002/shard-00000-of-00001.safetensors", 4000);
  EXPECT_EQ(generation("ruined", {.ranks = 2}).code(), Code::kBadData);
}

TEST_F(TrainerTest, AReplayedStepThatDiffersStopsTheRun) {
  EXPECT_EQ(generation("tampered", {.stop_after = 6, .checkpoint_every = 5}).code(),
            Code::kDrained);
  throw_if_error(posix_files().remove_all(run_dir("tampered") + "/checkpoints/step-00000006"));
  // One digit of the last line's loss. Not the seventeenth, which need not change the number.
  const std::string path = run_dir("tampered") + "/metrics.jsonl";
  std::string content = read_file(posix_files(), path).value();
  const size_t digit = content.find('.', content.rfind("\"loss\": ")) + 9;
  content[digit] = content[digit] == '5' ? '6' : '5';
  throw_if_error(publish_file(posix_files(), path, content, "tamper"));
  const Status status = generation("tampered", {.ranks = 2});
  EXPECT_EQ(status.code(), Code::kBadData) << status.message();
  EXPECT_NE(events("tampered").find("replay_mismatch"), std::string::npos);
}

TEST_F(TrainerTest, OtherIdentityKeysAreRefusedUnlessForked) {
  EXPECT_EQ(generation("forked", {.stop_after = 4}).code(), Code::kDrained);
  const auto before = metrics("forked");
  const Status refused = generation("forked", {.ranks = 2, .lr = 1e-3});
  EXPECT_EQ(refused.code(), Code::kBadConfig);
  EXPECT_NE(refused.message().find("optimizer.lr"), std::string::npos) << refused.message();
  EXPECT_NE(refused.message().find("--fork"), std::string::npos) << refused.message();
  EXPECT_TRUE(generation("forked", {.ranks = 2, .fork = true, .lr = 1e-3}).ok());
  const auto after = metrics("forked");
  ASSERT_EQ(after.size(), static_cast<size_t>(kSteps));
  EXPECT_TRUE(std::equal(before.begin(), before.end(), after.begin()));
}

TEST_F(TrainerTest, AForkMayComputeInAnotherPrecision) {
  EXPECT_EQ(generation("forked", {.stop_after = 4}).code(), Code::kDrained);
  EXPECT_EQ(generation("forked", {.precision = DType::kBf16}).code(), Code::kBadConfig);
  EXPECT_TRUE(generation("forked", {.ranks = 2, .fork = true, .precision = DType::kBf16}).ok());
  EXPECT_EQ(metrics("forked").size(), static_cast<size_t>(kSteps));
  EXPECT_EQ(generation("forked", {}).code(), Code::kBadConfig);
}

// The power fails at some operation: everything that was not synced is gone, and no line with it
// that a checkpoint comes after.
TEST_F(TrainerTest, APowerLossLeavesNoGapInTheLog) {
  ASSERT_TRUE(generation("whole", {}).ok());
  int64_t num_losses = 0;
  for (int64_t n = 60;; n += 29) {
    FaultyFiles files;
    files.crash_at_change(n);
    const Status first = generation("run", {.ranks = 2, .checkpoint_every = 3}, files);
    if (!files.is_down()) break;
    EXPECT_EQ(first.code(), Code::kStorage) << first.message();
    ++num_losses;
    files.restart(FaultyFiles::Loss::kUnsynced);
    ASSERT_TRUE(generation("run", {.checkpoint_every = 3}, files).ok());
    std::vector<std::string> now = metrics("run", files);
    ASSERT_EQ(now, metrics("whole")) << "power lost at change " << n << events("run", files);
  }
  EXPECT_GT(num_losses, 3);
}

// Rank 0's machine loses its power between two syncs of the log, and the state comes from its
// partner's memory, which is newer than the log's durable lines.
TEST_F(TrainerTest, APartnersMemoryBringsTheLinesThatThePowerTook) {
  constexpr int64_t kManySteps = 24;
  const RunSettings whole = {.validate_every = 6, .steps = kManySteps};
  ASSERT_TRUE(generation("whole", whole).ok());
  FaultyFiles disk;
  HeldFiles files(disk);
  files.slow_down("metrics.jsonl", 0.02);  // at 2% of the time no second sync comes for 50 steps
  RunSettings settings = whole;
  settings.ranks = 2;
  settings.snapshot = SnapshotMode::kEvery;
  settings.nodes = {"a", "b"};
  settings.on_step = [&](const StepMetrics& step, DrainRequest&) {
    if (step.step == 20) disk.crash_now();
  };
  EXPECT_EQ(generation("run", settings, files).code(), Code::kStorage);
  for (const auto& entry : std::filesystem::directory_iterator(memory())) {
    if (entry.path().string().find("@a") != std::string::npos)
      std::filesystem::remove(entry.path());
  }
  disk.restart(FaultyFiles::Loss::kUnsynced);
  settings.ranks = 1;
  settings.nodes = {"b"};
  settings.on_step = [](const StepMetrics&, DrainRequest&) {};
  const Status done = generation("run", settings, disk);
  ASSERT_TRUE(done.ok()) << done.message();
  const std::string told = events("run", disk);
  EXPECT_NE(told.find("memory: "), std::string::npos) << told;
  EXPECT_EQ(told.find("metrics_gap"), std::string::npos) << told;
  EXPECT_EQ(metrics("run", disk), metrics("whole"));
}

// A disk that is full for so long that hundreds of lines wait keeps no snapshot from being taken.
TEST_F(TrainerTest, SnapshotsHaveRoomForTheLinesThatWait) {
  constexpr int64_t kManySteps = 150;
  FaultyFiles files;
  RunSettings settings = {.ranks = 2,
                          .validate_every = 0,
                          .snapshot = SnapshotMode::kEvery,
                          .nodes = {"a", "b"},
                          .steps = kManySteps};
  settings.on_step = [&](const StepMetrics& step, DrainRequest&) {
    if (step.step == 3) files.set_capacity(0);
  };
  EXPECT_EQ(generation("full", settings, files).code(), Code::kStorage);
  files.remove_capacity_limit();
  settings.on_step = [](const StepMetrics&, DrainRequest&) {};
  ASSERT_TRUE(generation("full", settings, files).ok());
  const std::string told = events("full", files);
  EXPECT_EQ(told.find("snapshot_failed"), std::string::npos) << told;
  EXPECT_EQ(told.find("metrics_gap"), std::string::npos) << told;
  EXPECT_EQ(metrics("full", files).size(), static_cast<size_t>(kManySteps));
}

// A disk that is full for a while costs no line and ends nothing.
TEST_F(TrainerTest, LinesWaitForAFullDisk) {
  ASSERT_TRUE(generation("whole", {}).ok());
  for (const bool killed : {false, true}) {
    FaultyFiles files;
    RunSettings settings;
    settings.ranks = 2;
    settings.on_step = [&](const StepMetrics& step, DrainRequest&) {
      if (step.step == 3) files.set_capacity(0);
      if (step.step == 9 && !killed) files.remove_capacity_limit();
    };
    settings.snapshot = SnapshotMode::kEvery;
    const std::string name = killed ? "killed" : "full";
    const Status status = generation(name, settings, files);
    if (killed) {
      // Nothing could be saved; the memory has the state, and the lines.
      EXPECT_EQ(status.code(), Code::kStorage) << status.message();
      files.remove_capacity_limit();
      ASSERT_TRUE(generation(name, {.snapshot = SnapshotMode::kEvery}, files).ok());
    } else {
      ASSERT_TRUE(status.ok()) << status.message();
      const std::string told = events(name, files);
      EXPECT_NE(told.find("log_waits"), std::string::npos) << told;
      EXPECT_NE(told.find("log_written"), std::string::npos) << told;
    }
    EXPECT_EQ(metrics(name, files), metrics("whole")) << events(name, files);
  }
}

TEST_F(TrainerTest, AReplayThatMayDifferGoesOn) {
  ASSERT_TRUE(generation("run", {.checkpoint_every = 4}).ok());
  throw_if_error(posix_files().remove_all(run_dir("run") + "/checkpoints/step-00000012"));
  const std::string path = run_dir("run") + "/metrics.jsonl";
  std::string content = read_file(posix_files(), path).value();
  const size_t at = content.find("\"loss\": ", content.find("\"step\": 10,")) + 10;
  content[at] = content[at] == '9' ? '8' : '9';
  throw_if_error(publish_file(posix_files(), path, content, "tampered"));
  ASSERT_TRUE(generation("run", {.checkpoint_every = 4, .repeats_bits = false}).ok());
  const std::string told = events("run");
  EXPECT_NE(told.find("replay_differs"), std::string::npos) << told;
  EXPECT_EQ(told.find("replay_mismatch"), std::string::npos) << told;
  EXPECT_EQ(read_file(posix_files(), path).value(), content);
}

}  // namespace
}  // namespace leasehold
