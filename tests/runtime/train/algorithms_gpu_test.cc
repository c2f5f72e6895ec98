// Runs keep the algorithms of their matrix products, whatever the library prefers by then, and
// their ranks use the same ones. On the emulation, whose library changes its mind when told.
#include "tests/emulated_gpu/emulation.h"
#include "tests/runtime/train/trainer_fixture.h"

namespace leasehold {
namespace {

using emulation::Heuristics;

constexpr int kDevices = 2;

class AlgorithmsGpuTest : public TrainerTest {
 protected:
  // Steps of an emulated GPU are slow ones.
  AlgorithmsGpuTest() {
    write_random_tokens(validation_, 60, 61, 6);
    prefer(Heuristics::kFastestFirst);
  }
  ~AlgorithmsGpuTest() override { prefer(Heuristics::kFastestFirst); }

  static void prefer(Heuristics heuristics) {
    for (int device = 0; device < kDevices; ++device) emulation::set_heuristics(device, heuristics);
  }
  static RunSettings on_gpus(int ranks) {
    RunSettings settings;
    settings.device_kind = DeviceKind::kCuda;
    settings.ranks = ranks;
    settings.steps = 4;
    settings.microbatches = 4;
    settings.validate_every = 2;
    return settings;
  }
  static RunSettings stopping(RunSettings settings) {
    settings.stop_after = 2;
    return settings;
  }

  std::string algorithms(const std::string& name, int64_t step) {
    const std::string path = run_dir(name) + "/checkpoints/" + checkpoint_name(step);
    return open_checkpoint(posix_files(), path).value().info.algorithms;
  }
  void expect_undisturbed(const std::string& name) {
    EXPECT_EQ(metrics(name), metrics("undisturbed")) << name;
    EXPECT_EQ(state(name, 4), state("undisturbed", 4)) << name;
  }
  int64_t num_events(const std::string& name, const std::string& event) {
    const std::string log = this->events(name);
    int64_t count = 0;
    for (size_t at = log.find(event); at != std::string::npos; at = log.find(event, at + 1))
      ++count;
    return count;
  }
};

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_F(AlgorithmsGpuTest, AResumedRunGoesOnWithTheAlgorithmsOfItsCheckpoint) {
  ASSERT_TRUE(generation("undisturbed", on_gpus(1)).ok());
  const std::string kept = algorithms("undisturbed", 4);
  EXPECT_TRUE(kept.starts_with("algorithms of cuBLASLt ")) << kept;
  EXPECT_TRUE(contains(kept, "\nforward 24 128 32 F32 F32 ")) << kept;
  EXPECT_EQ(generation("resumed", stopping(on_gpus(2))).code(), Code::kDrained);
  prefer(Heuristics::kPlainFirst);
  // What a run that begins now would compute is another thing.
  ASSERT_TRUE(generation("another", on_gpus(1)).ok());
  EXPECT_NE(metrics("another"), metrics("undisturbed"));
  EXPECT_NE(algorithms("another", 4), kept);

  const Status resumed = generation("resumed", on_gpus(1));
  ASSERT_TRUE(resumed.ok()) << resumed.message();
  expect_undisturbed("resumed");
  EXPECT_EQ(algorithms("resumed", 4), kept);
}

TEST_F(AlgorithmsGpuTest, ARunRestoredFromMemoryDoesToo) {
  ASSERT_TRUE(generation("undisturbed", on_gpus(1)).ok());
  RunSettings settings = on_gpus(2);
  settings.snapshot = SnapshotMode::kEvery;
  settings.nodes = {"a", "b"};
  RunSettings crashing = settings;
  crashing.on_step = [](const StepMetrics& metrics, DrainRequest&) {
    if (metrics.step == 3) throw RankGone{0};
  };
  EXPECT_EQ(generation("crashed", crashing).code(), Code::kUnavailable);
  prefer(Heuristics::kPlainFirst);
  const Status resumed = generation("crashed", settings);
  ASSERT_TRUE(resumed.ok()) << resumed.message();
  EXPECT_TRUE(contains(events("crashed"), "memory: ")) << events("crashed");
  EXPECT_FALSE(contains(events("crashed"), "snapshot_failed")) << events("crashed");
  expect_undisturbed("crashed");
}

// At the start, in the validation before step 1 and in step 1 the second rank chooses for itself.
TEST_F(AlgorithmsGpuTest, RanksThatPreferOthersTakeThoseOfTheLowestBeforeAnythingComesOfIt) {
  ASSERT_TRUE(generation("undisturbed", on_gpus(1)).ok());
  emulation::set_heuristics(1, Heuristics::kPlainFirst);
  for (const int zero_stage : {1, 3}) {
    const std::string name = fmt::format("zero {}", zero_stage);
    RunSettings settings = on_gpus(2);
    settings.zero_stage = zero_stage;
    const Status status = generation(name, settings);
    ASSERT_TRUE(status.ok()) << status.message();
    expect_undisturbed(name);
    EXPECT_EQ(num_events(name, "algorithms_agreed"), 3) << events(name);
    EXPECT_TRUE(contains(events(name), "rank 1 on node here")) << events(name);
    EXPECT_EQ(algorithms(name, 4), algorithms("undisturbed", 4));
  }
}

TEST_F(AlgorithmsGpuTest, WhatOneRankCannotRunIsRefusedOrReported) {
  emulation::set_heuristics(1, Heuristics::kWithoutTiles);
  RunSettings settings = on_gpus(2);
  const Status refused = generation("run", settings);
  EXPECT_EQ(refused.code(), Code::kBadConfig) << refused.message();
  EXPECT_TRUE(contains(refused.message(), "rank 1 on node here")) << refused.message();
  EXPECT_TRUE(contains(refused.message(), "product forward")) << refused.message();
  EXPECT_TRUE(contains(refused.message(), "run.identity")) << refused.message();
  settings.report = true;
  const Status reported = generation("run", settings);
  EXPECT_TRUE(reported.ok()) << reported.message();
  EXPECT_GT(num_events("run", "algorithms_differ"), 0) << events("run");
}

TEST_F(AlgorithmsGpuTest, ACheckpointsAlgorithmThatIsGoneIsRefusedOrReportedAndChosenAnew) {
  EXPECT_EQ(generation("run", stopping(on_gpus(2))).code(), Code::kDrained);
  const std::string kept = algorithms("run", 2);
  prefer(Heuristics::kWithoutTiles);
  RunSettings settings = on_gpus(1);
  const Status refused = generation("run", settings);
  EXPECT_EQ(refused.code(), Code::kBadConfig) << refused.message();
  EXPECT_TRUE(contains(refused.message(), "product forward")) << refused.message();
  EXPECT_TRUE(contains(refused.message(), "run.identity")) << refused.message();
  settings.report = true;
  const Status reported = generation("run", settings);
  ASSERT_TRUE(reported.ok()) << reported.message();
  EXPECT_EQ(num_events("run", "algorithms_differ"), 1) << events("run");
  EXPECT_NE(algorithms("run", 4), kept);
}

}  // namespace
}  // namespace leasehold
