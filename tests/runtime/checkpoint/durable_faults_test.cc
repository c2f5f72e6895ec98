// Saving and loading on a disk that fills up, fails, tears writes and loses what was not synced,
// and from files that were damaged: the last good checkpoint is never touched, and nothing damaged
// is ever loaded.
#include <algorithm>
#include <gtest/gtest.h>
#include <set>

#include "collectives/threads.h"
#include "runtime/checkpoint/manifest.h"
#include "runtime/checkpoint/restore.h"
#include "runtime/device/cpu_device.h"
#include "tests/runtime/checkpoint/sample_state.h"
#include "tests/support/faulty_files.h"

namespace leasehold {
namespace {

const std::map<std::string, Shape>& shapes() {
  static const std::map<std::string, Shape> few = {{"a", {2, 3}}, {"b", {5}}};
  return few;
}

std::vector<RankSlices> two_ranks(const SampleState& state) {
  std::mt19937_64 random(3);
  std::vector<RankSlices> ranks = random_layout(shapes(), 2, random);
  for (RankSlices& rank : ranks) copy_in(state, rank);
  return ranks;
}

// A run with step 1 saved, about to save step 2.
struct SavedRun {
  SampleState old_state = random_state(shapes(), 1);
  SampleState new_state = random_state(shapes(), 2);
  FaultyFiles files;

  explicit SavedRun(uint64_t seed = 0) : files(seed) {
    const Status saved = save_whole(files, "run", sample_info(1), old_state);
    EXPECT_TRUE(saved.ok()) << saved.message();
  }
  Status save_alone() { return save_whole(files, "run", sample_info(2), new_state); }
  std::vector<Status> save_together() {
    return save_on_ranks(files, "run", sample_info(2), two_ranks(new_state));
  }

  // The step that a restart finds, after checking that what it finds is whole.
  int64_t found() {
    const auto newest = load_newest_good(files, "run");
    EXPECT_TRUE(newest.ok()) << newest.status().message();
    if (!newest.ok()) return -1;
    EXPECT_EQ(newest->state, newest->step == 1 ? old_state : new_state);
    return newest->step;
  }
};

int64_t bytes_of_a_save() {
  SavedRun run;
  for (int64_t capacity = 1;; capacity *= 2) {
    run.files.set_capacity(capacity);
    if (run.save_alone().ok()) return capacity;
  }
}

TEST(DurableFaults, DiskFullAtEveryBudget) {
  const int64_t enough = bytes_of_a_save();
  int64_t num_full = 0;
  for (int64_t capacity = 0; capacity <= enough; capacity += 37) {
    SavedRun run;
    run.files.set_capacity(capacity);
    const Status saved = run.save_alone();
    if (saved.ok()) {
      ASSERT_EQ(run.found(), 2);
      continue;
    }
    ++num_full;
    ASSERT_EQ(saved.code(), Code::kStorage) << saved.message();
    ASSERT_NE(saved.message().find("No space left"), std::string::npos) << saved.message();
    ASSERT_NE(saved.message().find("step-00000002"), std::string::npos) << saved.message();
    ASSERT_EQ(run.files.list("run/checkpoints").value(), std::vector<std::string>{"step-00000001"});
    ASSERT_EQ(run.found(), 1);
    run.files.remove_capacity_limit();
    ASSERT_TRUE(run.save_alone().ok());
    ASSERT_EQ(run.found(), 2);
  }
  EXPECT_GT(num_full, 50);
}

TEST(DurableFaults, DiskFullIsToldToEveryRank) {
  const int64_t enough = bytes_of_a_save();
  int64_t num_full = 0;
  for (int64_t capacity = 0; capacity <= enough; capacity += enough / 20) {
    SavedRun run;
    run.files.set_capacity(capacity);
    const std::vector<Status> saved = run.save_together();
    ASSERT_EQ(saved[0].code(), saved[1].code());
    if (saved[0].ok()) continue;
    ++num_full;
    ASSERT_EQ(saved[0].code(), Code::kStorage) << saved[0].message();
    ASSERT_EQ(run.files.list("run/checkpoints").value(), std::vector<std::string>{"step-00000001"});
    ASSERT_EQ(run.found(), 1);
  }
  EXPECT_GT(num_full, 3);
}

TEST(DurableFaults, EveryFailingOperationLeavesOldOrNewWhole) {
  int64_t num_failed = 0;
  for (int64_t n = 0;; ++n) {
    SavedRun run;
    const int64_t before = run.files.num_changes();
    run.files.fail_change(before + n);
    const Status saved = run.save_alone();
    if (run.files.num_changes() <= before + n) break;  // the save has fewer changes than that
    if (!saved.ok()) {
      ++num_failed;
      ASSERT_EQ(saved.code(), Code::kStorage) << saved.message();
      ASSERT_NE(saved.message().find("Input/output error"), std::string::npos) << saved.message();
      // From the rename on it is published, whatever is reported of the sync after it.
      const bool renamed = saved.message().find("syncing run/checkpoints:") != std::string::npos;
      ASSERT_EQ(run.found(), renamed && run.files.exists("run/checkpoints/step-00000002") ? 2 : 1)
          << "change " << n << ": " << saved.message();
    } else {
      ASSERT_EQ(run.found(), 2) << "change " << n;
    }
    ASSERT_TRUE(run.save_alone().ok()) << "change " << n;
    ASSERT_EQ(run.found(), 2) << "change " << n;
  }
  EXPECT_GT(num_failed, 12);
}

// The machine dies at every operation of a save; what was not synced is lost, all of it or some of
// it.
TEST(DurableFaults, ACrashAtEveryOperationLeavesOldOrNewWhole) {
  int64_t num_crashes = 0;
  int64_t num_old = 0;
  for (const auto loss :
       {FaultyFiles::Loss::kNothing, FaultyFiles::Loss::kUnsynced, FaultyFiles::Loss::kRandom}) {
    const int rounds = loss == FaultyFiles::Loss::kRandom ? 4 : 1;
    for (int64_t n = 0;; ++n) {
      bool reached = true;
      for (int round = 0; round < rounds; ++round) {
        SavedRun run(static_cast<uint64_t>(round));
        run.files.crash_at_change(run.files.num_changes() + n);
        const Status saved = run.save_alone();
        reached = run.files.is_down();
        if (!reached) break;
        ++num_crashes;
        run.files.restart(loss);
        const int64_t step = run.found();
        ASSERT_FALSE(saved.ok() && step != 2)
            << "a save that was reported done is lost, change " << n;
        num_old += step == 1 ? 1 : 0;
        ASSERT_TRUE(remove_leftovers(run.files, "run", 1).ok());
        ASSERT_EQ(run.found(), step) << "change " << n;
        ASSERT_TRUE(run.save_alone().ok()) << "change " << n;
        ASSERT_EQ(run.found(), 2);
      }
      if (!reached) break;
    }
  }
  EXPECT_GT(num_crashes, 100);
  EXPECT_GT(num_old, 50);
}

TEST(DurableFaults, ACrashUnderTwoRanksLeavesOldOrNewWhole) {
  for (int64_t n = 0;; ++n) {
    SavedRun run(static_cast<uint64_t>(n));
    run.files.crash_at_change(run.files.num_changes() + n);
    const std::vector<Status> saved = run.save_together();
    if (!run.files.is_down()) break;
    run.files.restart(FaultyFiles::Loss::kRandom);
    const int64_t step = run.found();
    ASSERT_FALSE((saved[0].ok() || saved[1].ok()) && step != 2) << "change " << n;
    for (const Status& status : run.save_together()) ASSERT_TRUE(status.ok()) << status.message();
    ASSERT_EQ(run.found(), 2);
  }
}

// A done save survives the loss of everything unsynced.
TEST(DurableFaults, ADoneSaveIsDurable) {
  SavedRun run;
  ASSERT_TRUE(run.save_alone().ok());
  run.files.crash_now();
  run.files.restart(FaultyFiles::Loss::kUnsynced);
  EXPECT_EQ(run.found(), 2);
}

TEST(DurableFaults, ACrashWhileOldCheckpointsGoLeavesNoHalfOne) {
  for (int64_t n = 0;; ++n) {
    SavedRun run(static_cast<uint64_t>(n));
    ASSERT_TRUE(run.save_alone().ok());
    run.files.crash_at_change(run.files.num_changes() + n);
    std::set<int64_t> usable;
    const Status removed =
        remove_old_checkpoints(run.files, "run", {.newest = 1, .generation = 1}, usable);
    if (!run.files.is_down()) {
      ASSERT_TRUE(removed.ok());
      break;
    }
    run.files.restart(n % 2 == 0 ? FaultyFiles::Loss::kNothing : FaultyFiles::Loss::kRandom);
    ASSERT_EQ(run.found(), 2);
    std::vector<CheckpointRejected> rejected;
    const auto left = list_checkpoints(run.files, "run", rejected);
    for (const CheckpointHandle& handle : left.value()) {
      ASSERT_TRUE(load_whole(run.files, handle).ok()) << handle.path << " change " << n;
    }
    ASSERT_TRUE(
        remove_old_checkpoints(run.files, "run", {.newest = 1, .generation = 1}, usable).ok());
    ASSERT_EQ(run.files.list("run/checkpoints").value(), std::vector<std::string>{"step-00000002"});
  }
}

// --- Damaged files ---

constexpr const char* kShard = "run/checkpoints/step-00000001/shard-00000-of-00001.safetensors";

TEST(DurableFaults, AnyFlippedBitOfAShardIsFound) {
  const SavedRun original;
  const std::string good = original.files.content(kShard);
  SavedRun run;
  const auto handle = open_checkpoint(run.files, "run/checkpoints/step-00000001").value();
  int64_t num_harmless = 0;
  for (int64_t bit = 0; bit < std::ssize(good) * 8; bit += 3) {
    run.files.flip_bit(kShard, bit);
    const Result<SampleState> loaded = load_whole(run.files, handle);
    // Only text that nobody reads (the shard's remark about itself) may change unseen.
    if (loaded.ok()) {
      ++num_harmless;
      ASSERT_EQ(loaded.value(), run.old_state) << "bit " << bit;
    } else {
      ASSERT_EQ(loaded.status().code(), Code::kBadData) << loaded.status().message();
      ASSERT_NE(loaded.status().message().find(kShard), std::string::npos)
          << loaded.status().message();
    }
    run.files.flip_bit(kShard, bit);
  }
  EXPECT_LT(num_harmless, 300);
  EXPECT_TRUE(load_whole(run.files, handle).ok());
}

TEST(DurableFaults, ADamagedPieceIsNamedWithTheWayOut) {
  SavedRun run;
  const auto handle = open_checkpoint(run.files, "run/checkpoints/step-00000001").value();
  const ShardFile& file = handle.manifest->files[0];
  run.files.flip_bit(kShard, (file.size_bytes - file.index_bytes) * 8 - 3);
  const Status status = load_whole(run.files, handle.path).status();
  EXPECT_EQ(status.code(), Code::kBadData);
  for (const char* part : {kShard, "'b/v@0:5'", "damaged", "older"}) {
    EXPECT_NE(status.message().find(part), std::string::npos) << part << "\n" << status.message();
  }
}

TEST(DurableFaults, ATruncatedOrLongerShardIsNamed) {
  SavedRun run;
  const std::string good = run.files.content(kShard);
  for (size_t length = 0; length < good.size(); length += 5) {
    run.files.set_content(kShard, good.substr(0, length));
    const Status status = load_whole(run.files, "run/checkpoints/step-00000001").status();
    ASSERT_EQ(status.code(), Code::kBadData);
    ASSERT_NE(status.message().find("truncated"), std::string::npos) << status.message();
  }
  run.files.set_content(kShard, good + "x");
  EXPECT_EQ(load_whole(run.files, "run/checkpoints/step-00000001").status().code(), Code::kBadData);
}

TEST(DurableFaults, AMissingShardIsNamed) {
  SavedRun run;
  ASSERT_TRUE(run.files.remove_all(kShard).ok());
  const Status status = load_whole(run.files, "run/checkpoints/step-00000001").status();
  EXPECT_EQ(status.code(), Code::kBadData);
  EXPECT_NE(status.message().find("missing"), std::string::npos) << status.message();
}

TEST(DurableFaults, AFailingReadIsAStorageError) {
  SavedRun run;
  const auto handle = open_checkpoint(run.files, "run/checkpoints/step-00000001").value();
  for (int64_t n = 0; n < 3; ++n) {
    run.files.fail_read(n);
    EXPECT_EQ(load_whole(run.files, handle).status().code(), Code::kStorage) << n;
  }
}

// --- restore_newest ---

struct Outcome {
  Status status;
  int64_t step = -1;  // -1: there was none
  std::vector<CheckpointRejected> rejected;
};

// On two ranks; what was loaded together must be `state` when something was.
std::vector<Outcome> restore(FaultyFiles& files, const SampleState& state,
                             const std::function<Status(const CheckpointHandle&)>& accept) {
  std::mt19937_64 random(9);
  std::vector<RankSlices> wanted = random_layout(shapes(), 2, random);
  std::vector<Outcome> outcomes(2);
  run_ranks(2, {}, [&](Communicator& world) {
    const auto device = CpuDevice::create({});
    const auto stream = device->create_stream("restore").value();
    const auto rank = static_cast<size_t>(world.rank());
    Outcome& outcome = outcomes[rank];
    FileWork work(files, {});
    const auto restored = restore_newest(work, "run", std::nullopt, accept, wanted[rank].slices,
                                         world, *stream, outcome.rejected);
    outcome.status = restored.status();
    if (restored.ok() && restored->has_value()) outcome.step = (*restored)->checkpoint.info.step;
  });
  if (outcomes[0].step >= 0) {
    SampleState loaded;
    for (const RankSlices& rank : wanted) copy_out(rank, loaded);
    EXPECT_EQ(loaded, state);
  }
  return outcomes;
}

Status accept_all(const CheckpointHandle&) { return ok_status(); }

TEST(Restore, TakesTheNewest) {
  SavedRun run;
  ASSERT_TRUE(run.save_alone().ok());
  for (const Outcome& outcome : restore(run.files, run.new_state, accept_all))
    EXPECT_EQ(outcome.step, 2);
}

TEST(Restore, PassesOverADamagedShardOnEveryRank) {
  SavedRun run;
  for (const Status& status : run.save_together()) ASSERT_TRUE(status.ok());
  // Damages what one of the two ranks alone may read: both must fall back.
  const std::string shard = "run/checkpoints/step-00000002/shard-00001-of-00002.safetensors";
  run.files.flip_bit(shard, std::ssize(run.files.content(shard)) * 8 - 3);
  const auto outcomes = restore(run.files, run.old_state, accept_all);
  for (const Outcome& outcome : outcomes) EXPECT_EQ(outcome.step, 1) << outcome.status.message();
  ASSERT_EQ(outcomes[0].rejected.size(), 1u);
  EXPECT_EQ(outcomes[0].rejected[0].path, "run/checkpoints/step-00000002");
  EXPECT_NE(outcomes[0].rejected[0].reason.find("damaged"), std::string::npos)
      << outcomes[0].rejected[0].reason;
}

TEST(Restore, PassesOverADamagedManifestAndAnUnfinishedSave) {
  SavedRun run;
  ASSERT_TRUE(run.save_alone().ok());
  run.files.flip_bit("run/checkpoints/step-00000002/manifest.json", 1000);
  run.files.set_content("run/checkpoints/step-00000003/shard", "no manifest");
  for (const Outcome& outcome : restore(run.files, run.old_state, accept_all))
    EXPECT_EQ(outcome.step, 1);
}

TEST(Restore, NothingYetIsNotAnError) {
  FaultyFiles files;
  files.set_content("run/checkpoints/step-00000003/shard", "no manifest");
  for (const Outcome& outcome : restore(files, {}, accept_all)) {
    EXPECT_TRUE(outcome.status.ok()) << outcome.status.message();
    EXPECT_EQ(outcome.step, -1);
  }
}

// Starting from scratch where checkpoints are damaged would throw a run away in silence.
TEST(Restore, OnlyDamagedOnesIsAnError) {
  SavedRun run;
  ASSERT_TRUE(run.files.remove_all(kShard).ok());
  for (const Outcome& outcome : restore(run.files, {}, accept_all)) {
    EXPECT_EQ(outcome.status.code(), Code::kBadData);
    EXPECT_NE(outcome.status.message().find(kShard), std::string::npos) << outcome.status.message();
  }
  FaultyFiles files;
  files.set_content("run/checkpoints/step-00000003/manifest.json", "{");
  for (const Outcome& outcome : restore(files, {}, accept_all))
    EXPECT_EQ(outcome.status.code(), Code::kBadData);
}

TEST(Restore, ARefusalIsFinal) {
  SavedRun run;
  ASSERT_TRUE(run.save_alone().ok());
  const auto refuse = [](const CheckpointHandle& handle) {
    return check_identity(handle.info, {{"run.seed", "2"}});
  };
  for (const Outcome& outcome : restore(run.files, {}, refuse)) {
    EXPECT_EQ(outcome.status.code(), Code::kBadConfig);
    EXPECT_NE(outcome.status.message().find("--fork"), std::string::npos);
  }
}

TEST(Restore, AStorageFailureIsNotTakenForDamage) {
  SavedRun run;
  ASSERT_TRUE(run.save_alone().ok());
  run.files.fail_read(6);
  for (const Outcome& outcome : restore(run.files, {}, accept_all)) {
    EXPECT_EQ(outcome.status.code(), Code::kStorage) << outcome.status.message();
  }
}

}  // namespace
}  // namespace leasehold
