// The memory tier under a whole run: ranks and nodes go at any moment, and the run ends as the one
// that nobody disturbed.
#include <algorithm>
#include <filesystem>
#include <random>
#include <unistd.h>

#include "runtime/checkpoint/snapshot_description.h"
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
  // Flips a bit; the file stays its owner's alone.
  void flip(const std::string& path, size_t at) {
    corrupt(path, at);
    fs::permissions(path, fs::perms::owner_read | fs::perms::owner_write);
  }
  std::string lineage(const std::string& name) {
    return read_lineage(posix_files(), run_dir(name)).value();
  }
  int64_t used() {
    int64_t bytes = 0;
    for (const std::string& path : snapshots()) {
      std::error_code gone;
      const auto size = static_cast<int64_t>(fs::file_size(path, gone));
      if (!gone) bytes += size;
    }
    return bytes;
  }
  // The memory, of that size.
  SlotDirectory limited(int64_t limit_bytes) {
    return {memory(), [this, limit_bytes](const std::string&) -> Result<int64_t> {
              return std::max<int64_t>(limit_bytes - used(), 0);
            }};
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
    if (path.ends_with(".safetensors")) flip(path, fs::file_size(path) - 99);
  }
  EXPECT_TRUE(generation("flipped", two_nodes()).ok());
  EXPECT_NE(events("flipped").find("checkpoint_rejected"), std::string::npos);
  EXPECT_NE(restored("flipped").find("memory: "), std::string::npos) << restored("flipped");
  expect_undisturbed("flipped");
}

TEST_F(SnapshotsTest, EveryCopyDamagedStartsFromTheBeginning) {
  EXPECT_EQ(generation("ruined", crashing_after(two_nodes(), 4)).code(), Code::kUnavailable);
  for (const std::string& path : snapshots()) flip(path, fs::file_size(path) / 2);
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
  // A run.dir that was removed and made anew is another run, as is that of another container: what
  // lies there under the same path is neither used nor touched.
  const auto left = snapshots();
  fs::remove_all(run_dir("first"));
  EXPECT_TRUE(generation("first", two_nodes()).ok());
  EXPECT_EQ(events("first").find("\"restored\""), std::string::npos) << events("first");
  EXPECT_EQ(snapshots(), left);
  EXPECT_EQ(metrics("first"), metrics("undisturbed"));
  EXPECT_EQ(state("first"), state("undisturbed"));
}

// Another mount point on other nodes: the run is the same.
TEST_F(SnapshotsTest, ARunIsFoundUnderAnotherPath) {
  EXPECT_EQ(generation("here", crashing_after(two_nodes(), 7)).code(), Code::kUnavailable);
  fs::rename(run_dir("here"), run_dir("there"));
  EXPECT_TRUE(generation("there", two_nodes()).ok());
  EXPECT_NE(restored("there").find("memory: "), std::string::npos) << events("there");
  expect_undisturbed("there");
}

TEST_F(SnapshotsTest, AForkTakesTheMemoryOfTheLineageThatItLeaves) {
  RunSettings settings = two_nodes();
  settings.stop_after = 5;
  EXPECT_EQ(generation("forked", settings).code(), Code::kDrained);
  EXPECT_FALSE(snapshots().empty());
  settings.stop_after.reset();
  settings.fork = true;
  settings.lr = 1e-3;
  EXPECT_TRUE(generation("forked", settings).ok());
  EXPECT_TRUE(snapshots().empty());
}

// Seen: 62 MB of shared memory, 48 used by the snapshots; a rank is killed.
TEST_F(SnapshotsTest, ARecoveryFitsWhereTheStartDid) {
  int64_t full = 0;
  RunSettings settings = two_nodes();
  settings.on_step = [&](const StepMetrics& metrics, DrainRequest&) {
    if (metrics.step == 7) full = used();
  };
  EXPECT_TRUE(generation("full", settings).ok());
  ASSERT_GT(full, 0);
  RunSettings small = two_nodes();
  // 1.29 shares of 5: the files' sizes lack the room for descriptions and for lines of the log.
  small.memory = limited(full * 62 / 48 + 5 * MemoryTier::kLinesBytes);
  for (const int64_t step : {4, 6, 8, 10}) {
    EXPECT_EQ(generation("small", crashing_after(small, step)).code(), Code::kUnavailable);
    EXPECT_EQ(restored("small").find("memory: ") == std::string::npos, step == 4) << step;
  }
  EXPECT_TRUE(generation("small", small).ok());
  EXPECT_NE(restored("small").find("memory: "), std::string::npos) << events("small");
  EXPECT_EQ(events("small").find("snapshots_off"), std::string::npos) << events("small");
  EXPECT_EQ(events("small").find("snapshots_fewer"), std::string::npos) << events("small");
  expect_undisturbed("small");
}

// Other programs have taken what there was.
TEST_F(SnapshotsTest, WhereARecoveryDoesNotFitFilesReplaceSnapshots) {
  EXPECT_EQ(generation("tight", crashing_after(two_nodes(), 6)).code(), Code::kUnavailable);
  RunSettings tight = two_nodes();
  tight.memory = limited(used() / 2);
  tight.checkpoint_every = 3;
  EXPECT_TRUE(generation("tight", tight).ok());
  EXPECT_NE(restored("tight").find("memory: "), std::string::npos) << events("tight");
  EXPECT_NE(events("tight").find("snapshots_off"), std::string::npos) << events("tight");
  EXPECT_NE(events("tight").find("are kept that the state was restored from"), std::string::npos);
  EXPECT_TRUE(fs::exists(run_dir("tight") + "/checkpoints/step-00000009"));
  expect_undisturbed("tight");
}

TEST_F(SnapshotsTest, WithTwoSlotsTheRunIsTheSame) {
  int64_t full = 0;
  RunSettings settings = two_nodes();
  settings.on_step = [&](const StepMetrics& metrics, DrainRequest&) {
    if (metrics.step == 7) full = used();
  };
  EXPECT_TRUE(generation("full", settings).ok());
  EXPECT_EQ(generation("lean", crashing_after(two_nodes(), 4)).code(), Code::kUnavailable);
  RunSettings lean = two_nodes();
  lean.memory = limited(full * 95 / 100 + 5 * MemoryTier::kLinesBytes);
  lean.checkpoint_every = 2;
  EXPECT_TRUE(generation("lean", lean).ok());
  EXPECT_NE(events("lean").find("snapshots_fewer"), std::string::npos) << events("lean");
  EXPECT_NE(events("lean").find("in the background"), std::string::npos) << events("lean");
  expect_undisturbed("lean");
}

TEST_F(SnapshotsTest, AStartThatDoesNotFitIsRefusedAndLeavesNothing) {
  RunSettings small = two_nodes();
  small.memory = limited(10000);
  EXPECT_EQ(generation("refused", small).code(), Code::kBadConfig);
  EXPECT_NE(events("refused").find("10000 bytes left"), std::string::npos) << events("refused");
  EXPECT_TRUE(snapshots().empty());
}

// A local user who can read run.dir puts whole snapshots of a later step there.
TEST_F(SnapshotsTest, ForgeriesAreRefusedByNameAndTheTrueOneIsTaken) {
  EXPECT_EQ(generation("forged", crashing_after(two_nodes(), 7)).code(), Code::kUnavailable);
  const std::string prefix = lineage_prefix(lineage("forged"));
  const SecretKey key = read_key_file(private_files(), run_dir("forged") + "/key").value();
  // Of the newest generation, as if of one rank.
  const auto forge = [&](int64_t index, const SecretKey& with) {
    const std::string slot =
        slot_name(prefix, {.generation = 1, .rank = 0, .index = index, .node = "a"});
    SnapshotDescription description{.info = {}, .texts = {}, .world_size = 1, .rank = 0};
    description.info.step = 100 + index;
    description.info.generation = 1;
    description.info.lineage = lineage("forged");
    description.shard.file = {"x.safetensors", 10};
    throw_if_error(SnapshotSlot::reserve({memory()}, slot, 10)
                       .value()
                       ->publish(seal_snapshot(encode_snapshot(description).value(), with)));
    return memory() + "/" + slot + ".json";
  };
  std::vector<std::string> forgeries = {forge(1, SecretKey::make().value())};
  // Even under the right seal, where the file is no private one.
  forgeries.push_back(forge(2, key));
  fs::permissions(forgeries[1], fs::perms::owner_read | fs::perms::group_read);
  forgeries.push_back(forge(3, key));
  fs::create_hard_link(forgeries[2], directory_ / "second");
  forgeries.push_back(forge(4, key));
  fs::rename(forgeries[3], directory_ / "third");
  fs::create_symlink(directory_ / "third", forgeries[3]);
  if (::geteuid() == 0) {
    forgeries.push_back(forge(5, key));
    ASSERT_EQ(::chown(forgeries[4].c_str(), 65534, 65534), 0);
  }
  EXPECT_TRUE(generation("forged", two_nodes()).ok());
  EXPECT_NE(restored("forged").find("memory: "), std::string::npos) << events("forged");
  EXPECT_EQ(restored("forged").find("step 10"), std::string::npos) << restored("forged");
  const std::string log = events("forged");
  for (const char* reason : {"its seal is not one of this run's key", "lets others open it",
                             "has 2 names", "a symbolic link"})
    EXPECT_NE(log.find(reason), std::string::npos) << reason << " is not in " << log;
  for (const std::string& path : forgeries)
    EXPECT_NE(log.find(path.substr(path.rfind('/') + 1)), std::string::npos) << path;
  EXPECT_EQ(metrics("forged"), metrics("undisturbed"));
  EXPECT_EQ(state("forged"), state("undisturbed"));
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
    for (const std::string& path : snapshots("-r1-own-")) {
      if (!path.ends_with(".safetensors")) continue;
      const std::string obstacle = path.substr(0, path.rfind('.')) + ".json.tmp";
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
