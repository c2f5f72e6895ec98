// The memory tier under a whole run: ranks and nodes go at any moment, and the run ends as the one
// that nobody disturbed.
#include <algorithm>
#include <filesystem>
#include <random>

#include "runtime/train/state_keeper.h"
#include "tests/runtime/train/trainer_fixture.h"

namespace leasehold {
namespace {

namespace fs = std::filesystem;

class SnapshotsTest : public TrainerTest {
 protected:
  void SetUp() override { ASSERT_TRUE(generation("undisturbed", {}).ok()); }

  // Two ranks on two nodes, snapshots after every step.
  RunSettings two_nodes() {
    return {.ranks = 2, .snapshot = SnapshotMode::kEvery, .nodes = {"a", "b"}};
  }
  // Rank 0 is gone once the line of `step` is written; the others hear of it.
  static RunSettings crashing_after(RunSettings settings, int64_t step) {
    settings.on_step = [step](const StepMetrics& metrics, DrainRequest&) {
      if (metrics.step == step) throw RankGone{0};
    };
    return settings;
  }
  void expect_undisturbed(const std::string& name) {
    EXPECT_EQ(metrics(name), metrics("undisturbed"));
    EXPECT_EQ(state(name), state("undisturbed"));
    EXPECT_TRUE(snapshots().empty());
  }
  std::vector<std::string> snapshots(const std::string& part = "") {
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator(memory())) {
      const std::string path = entry.path();
      if (path.find(part) != std::string::npos) found.push_back(path);
    }
    std::ranges::sort(found);
    return found;
  }
  void lose_memory_of(const std::string& node) {
    for (const std::string& path : snapshots("@" + node + ".")) fs::remove(path);
  }
  // The step that the newest generation began from, and where it came from.
  std::string restored(const std::string& name) {
    const std::string log = events(name);
    const size_t at = log.rfind("\"reason\":", log.rfind("\"restored\""));
    const size_t line = log.rfind('\n', log.rfind("\"restored\""));
    const std::string text = log.substr(line + 1, log.find('\n', line + 1) - line);
    return at == std::string::npos ? "" : text;
  }
};

TEST_F(SnapshotsTest, ACrashedRunGoesOnFromMemory) {
  EXPECT_EQ(generation("crashed", crashing_after(two_nodes(), 7)).code(), Code::kUnavailable);
  EXPECT_FALSE(snapshots(".json").empty());
  EXPECT_FALSE(fs::exists(run_dir("crashed") + "/checkpoints/step-00000007"));
  EXPECT_TRUE(generation("crashed", two_nodes()).ok());
  EXPECT_NE(restored("crashed").find("memory: "), std::string::npos) << events("crashed");
  // At most the step in flight and those after the newest committed snapshot.
  const std::string text = restored("crashed");
  EXPECT_TRUE(text.find("step 6 from") != std::string::npos ||
              text.find("step 7 from") != std::string::npos ||
              text.find("step 5 from") != std::string::npos)
      << text;
  expect_undisturbed("crashed");
}

// Snapshots hold the masters; what is computed with is rounded from them again.
TEST_F(SnapshotsTest, InBf16ACrashedRunGoesOnFromMemoryOnOtherRanks) {
  ASSERT_TRUE(generation("bf16", {.precision = DType::kBf16}).ok());
  EXPECT_NE(metrics("bf16"), metrics("undisturbed"));
  RunSettings settings = two_nodes();
  settings.precision = DType::kBf16;
  EXPECT_EQ(generation("crashed", crashing_after(settings, 7)).code(), Code::kUnavailable);
  settings.zero_stage = 3;
  EXPECT_TRUE(generation("crashed", settings).ok());
  EXPECT_NE(restored("crashed").find("memory: "), std::string::npos) << events("crashed");
  EXPECT_EQ(metrics("crashed"), metrics("bf16"));
  EXPECT_EQ(state("crashed"), state("bf16"));
}

TEST_F(SnapshotsTest, OntoOtherNumbersOfRanks) {
  RunSettings three = {.ranks = 3, .snapshot = SnapshotMode::kEvery, .nodes = {"a", "b", "b"}};
  EXPECT_EQ(generation("moved", crashing_after(three, 5)).code(), Code::kUnavailable);
  RunSettings five = {
      .ranks = 5, .snapshot = SnapshotMode::kEvery, .nodes = {"b", "a", "c", "c", "a"}};
  EXPECT_EQ(generation("moved", crashing_after(five, 9)).code(), Code::kUnavailable);
  EXPECT_NE(restored("moved").find("memory: "), std::string::npos) << events("moved");
  RunSettings two = two_nodes();
  two.zero_stage = 0;
  two.nodes = {"c", "a"};  // b is gone with what it held
  lose_memory_of("b");
  EXPECT_TRUE(generation("moved", two).ok());
  EXPECT_NE(restored("moved").find("memory: "), std::string::npos) << events("moved");
  EXPECT_EQ(metrics("moved"), metrics("undisturbed"));
  EXPECT_EQ(state("moved"), state("undisturbed"));
}

TEST_F(SnapshotsTest, ANodeLostWithItsMemoryIsReplacedByItsPartnersCopy) {
  EXPECT_EQ(generation("lost", crashing_after(two_nodes(), 6)).code(), Code::kUnavailable);
  lose_memory_of("b");
  EXPECT_TRUE(generation("lost", {.snapshot = SnapshotMode::kEvery, .nodes = {"a"}}).ok());
  EXPECT_NE(restored("lost").find("as a partner's copy"), std::string::npos) << restored("lost");
  expect_undisturbed("lost");
}

TEST_F(SnapshotsTest, BothHoldersLostFallsBackToTheFiles) {
  RunSettings settings = two_nodes();
  settings.checkpoint_every = 3;
  RunSettings crashing = settings;
  crashing.on_step = [this](const StepMetrics& metrics, DrainRequest&) {
    if (metrics.step < 8) return;
    const std::string manifest = run_dir("both") + "/checkpoints/step-00000003/manifest.json";
    for (int i = 0; i < 2000 && !fs::exists(manifest); ++i) system_clock().sleep_s(0.005);
    throw RankGone{0};
  };
  EXPECT_EQ(generation("both", crashing).code(), Code::kUnavailable);
  lose_memory_of("a");
  lose_memory_of("b");
  EXPECT_TRUE(generation("both", settings).ok());
  EXPECT_NE(restored("both").find("checkpoints/step-0000000"), std::string::npos) << events("both");
  expect_undisturbed("both");
}

TEST_F(SnapshotsTest, AFlippedBitIsSeenAndTheOtherCopyTaken) {
  EXPECT_EQ(generation("flipped", crashing_after(two_nodes(), 7)).code(), Code::kUnavailable);
  for (const std::string& path : snapshots("-r0-own-")) {
    if (path.ends_with(".safetensors")) corrupt(path, fs::file_size(path) - 99);
  }
  EXPECT_TRUE(generation("flipped", two_nodes()).ok());
  EXPECT_NE(events("flipped").find("checkpoint_rejected"), std::string::npos);
  EXPECT_NE(restored("flipped").find("memory: "), std::string::npos) << restored("flipped");
  expect_undisturbed("flipped");
}

TEST_F(SnapshotsTest, EveryCopyDamagedStartsFromTheBeginning) {
  EXPECT_EQ(generation("ruined", crashing_after(two_nodes(), 4)).code(), Code::kUnavailable);
  for (const std::string& path : snapshots()) corrupt(path, fs::file_size(path) / 2);
  EXPECT_TRUE(generation("ruined", two_nodes()).ok());
  EXPECT_EQ(metrics("ruined"), metrics("undisturbed"));
  EXPECT_EQ(state("ruined"), state("undisturbed"));
}

TEST_F(SnapshotsTest, ADrainedRunKeepsItsSnapshotsAndAnotherRunDoesNotTakeThem) {
  RunSettings settings = two_nodes();
  settings.stop_after = 5;
  EXPECT_EQ(generation("first", settings).code(), Code::kDrained);
  EXPECT_FALSE(snapshots(".json").empty());
  EXPECT_TRUE(generation("second", two_nodes()).ok());
  EXPECT_EQ(events("second").find("\"restored\""), std::string::npos) << events("second");
  // A run.dir that was removed and made anew is another run.
  fs::remove_all(run_dir("first"));
  EXPECT_TRUE(generation("first", two_nodes()).ok());
  EXPECT_EQ(events("first").find("\"restored\""), std::string::npos) << events("first");
  expect_undisturbed("first");
}

TEST_F(SnapshotsTest, CheckpointsAreWrittenInTheBackground) {
  RunSettings settings = two_nodes();
  settings.checkpoint_every = 2;
  EXPECT_TRUE(generation("background", settings).ok());
  EXPECT_NE(events("background").find("in the background"), std::string::npos)
      << events("background");
  expect_undisturbed("background");
}

// With one failure a day the first save, which measures, is the only one of so short a run.
TEST_F(SnapshotsTest, TheMeasuredIntervalSavesSoonAndThenSeldom) {
  RunSettings settings = two_nodes();
  settings.checkpoint_auto = true;
  settings.on_step = [](const StepMetrics&, DrainRequest&) { system_clock().sleep_s(0.02); };
  EXPECT_TRUE(generation("measured", settings).ok());
  const std::string log = events("measured");
  EXPECT_NE(log.find("86400 s between failures"), std::string::npos) << log;
  const size_t first = log.find("in the background");
  EXPECT_NE(first, std::string::npos) << log;
  EXPECT_EQ(log.find("in the background", first + 1), std::string::npos) << log;
  expect_undisturbed("measured");
}

// What rank 1 cannot store is told by rank 0, once, and training goes on.
TEST_F(SnapshotsTest, AFailureOfAnotherRankIsTold) {
  RunSettings settings = two_nodes();
  settings.on_step = [this](const StepMetrics& metrics, DrainRequest&) {
    for (int64_t index = 0; index < 3; ++index) {
      const std::string obstacle =
          memory() + "/" +
          slot_name(run_prefix(run_dir("failing")),
                    {.generation = 1, .rank = 1, .index = index, .node = "b"}) +
          ".json.tmp";
      if (metrics.step == 2) fs::create_directory(obstacle);
      if (metrics.step == 9) fs::remove(obstacle);
    }
    system_clock().sleep_s(0.02);
  };
  EXPECT_TRUE(generation("failing", settings).ok());
  const std::string log = events("failing");
  const size_t told = log.find("snapshot_failed");
  ASSERT_NE(told, std::string::npos) << log;
  EXPECT_NE(log.find("another rank"), std::string::npos) << log;
  EXPECT_EQ(log.find("snapshot_failed", told + 1), std::string::npos) << log;
  expect_undisturbed("failing");
}

TEST_F(SnapshotsTest, RandomCrashesAndLossesEndInTheSameState) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  std::mt19937 random(seed);
  const std::vector<std::string> names = {"a", "b", "c"};
  Status status = error(Code::kUnavailable, "not started");
  for (int generations = 0; !status.ok(); ++generations) {
    ASSERT_LT(generations, 40);
    RunSettings settings = {
        .ranks = static_cast<int>(1 + random() % 5),
        .zero_stage = static_cast<int>(random() % 2),
        .checkpoint_every = static_cast<int64_t>(random() % 4),
        .snapshot = random() % 2 == 0 ? SnapshotMode::kEvery : SnapshotMode::kAuto};
    for (int rank = 0; rank < settings.ranks; ++rank)
      settings.nodes.push_back(names[random() % names.size()]);
    status =
        generation("random", crashing_after(settings, static_cast<int64_t>(1 + random() % 16)));
    if (random() % 3 == 0) lose_memory_of(names[random() % names.size()]);
  }
  EXPECT_EQ(metrics("random"), metrics("undisturbed"));
  EXPECT_EQ(state("random"), state("undisturbed"));
}

TEST(SnapshotInterval, CostsAtMostItsShare) {
  EXPECT_EQ(snapshot_interval(0, 1), 1);
  EXPECT_EQ(snapshot_interval(0.02, 1), 1);
  EXPECT_EQ(snapshot_interval(0.021, 1), 2);
  EXPECT_EQ(snapshot_interval(1, 1), 50);
  EXPECT_EQ(snapshot_interval(1e9, 1e-9), 1000);
}

}  // namespace
}  // namespace leasehold
