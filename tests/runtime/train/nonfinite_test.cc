// Losses and norms that are not finite: the weights of rank 0 are NaN for a few steps.
#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/runtime/train/trainer_fixture.h"

namespace leasehold {
namespace {

// Swaps the weights that rank 0 stores with what they were before. On a CPU slices are the state.
class Poison {
 public:
  void swap(Engine& engine) {
    size_t at = 0;
    for (const StateSlice& slice : engine.owned_slices()) {
      if (slice.kind != StateKind::kWeight) continue;
      const std::span<float> weights(static_cast<float*>(slice.data.data()),
                                     static_cast<size_t>(slice.data.num_elements()));
      values_.resize(std::max(values_.size(), at + weights.size()),
                     std::numeric_limits<float>::quiet_NaN());
      std::swap_ranges(weights.begin(), weights.end(),
                       values_.begin() + static_cast<std::ptrdiff_t>(at));
      at += weights.size();
    }
  }

 private:
  std::vector<float> values_;
};

class NonfiniteTest : public TrainerTest {
 protected:
  // The state after 6 steps, the third and fourth of which are skipped, or left out altogether.
  std::string state_after(const SmallJob& job, int ranks, bool leave_out,
                          int64_t skipped_at_the_end = 2) {
    std::string digest;
    run_ranks(ranks, {}, [&](Communicator& world) {
      SmallRank rank(job, train_, world);
      int64_t num_skipped = 0;
      for (int64_t step = 0; step < 6; ++step) {
        const bool bad = step == 2 || step == 3;
        if (bad && leave_out) {
          num_skipped = skipped_at_the_end;
          continue;
        }
        Poison poison;
        if (bad && world.rank() == 0) poison.swap(rank.engine());
        const StepResult result =
            rank.engine()
                .run_step(step, rank.loader(), {.skip_nonfinite = true, .num_skipped = num_skipped})
                .value();
        if (bad && world.rank() == 0) poison.swap(rank.engine());
        // What the poisoned weights were copied to is copied anew.
        if (bad) throw_if_error(rank.engine().finish_restore());
        EXPECT_EQ(result.skipped, bad) << step;
        EXPECT_EQ(std::isfinite(result.loss), !bad) << step;
        if (result.skipped) ++num_skipped;
      }
      const std::string own = gathered_state_digest(rank.engine(), world, rank.stream());
      if (world.rank() == 0) digest = own;
    });
    return digest;
  }
};

TEST_F(NonfiniteTest, ASkippedStepChangesNothingUnderAnyLayout) {
  SmallJob job;
  job.options.zero_stage = 1;
  const std::string expected = state_after(job, 1, true);
  EXPECT_NE(state_after(job, 1, true, 0), expected) << "corrections of bias count updates";
  EXPECT_EQ(state_after(job, 1, false), expected);
  EXPECT_EQ(state_after(job, 2, false), expected);
  EXPECT_EQ(state_after(job, 4, false), expected);
  for (const int stage : {0, 2, 3}) {
    job.options.zero_stage = stage;
    EXPECT_EQ(state_after(job, 2, false), expected) << "ZeRO " << stage;
  }
  job.options.zero_stage = 1;
  job.pipeline = 2;
  EXPECT_EQ(state_after(job, 2, false), expected) << "two stages";
  EXPECT_EQ(state_after(job, 4, false), expected) << "two stages on two data ranks";
}

TEST_F(NonfiniteTest, AStepThatFailsKeepsTheStateAndAllKnowIt) {
  run_ranks(3, {}, [&](Communicator& world) {
    SmallRank rank(SmallJob(), train_, world);
    const std::string before = gathered_state_digest(rank.engine(), world, rank.stream());
    Poison poison;
    if (world.rank() == 0) poison.swap(rank.engine());
    const Status status = rank.engine().run_step(0, rank.loader(), {}).status();
    if (world.rank() == 0) poison.swap(rank.engine());
    EXPECT_EQ(status.code(), Code::kBadData);
    EXPECT_NE(status.message().find("step 1: loss nan"), std::string::npos) << status.message();
    EXPECT_TRUE(rank.engine().failed_alike());
    EXPECT_EQ(gathered_state_digest(rank.engine(), world, rank.stream()), before);
    EXPECT_TRUE(rank.engine().run_step(0, rank.loader(), {}).ok());
    EXPECT_FALSE(rank.engine().failed_alike());
  });
}

TEST_F(NonfiniteTest, ASkippingRunIsTheSameOnAnyRanksAndOverARestart) {
  const auto settings = [](Poison& poison, int ranks) {
    RunSettings made;
    made.ranks = ranks;
    made.zero_stage = 3;  // so that every rank computes with what rank 0 stores
    made.skip_nonfinite = true;
    made.touch = [&poison](const StepMetrics& metrics, Engine& engine) {
      if (metrics.step == 2 || metrics.step == 5) poison.swap(engine);
    };
    return made;
  };
  Poison first;
  ASSERT_TRUE(generation("one", settings(first, 1)).ok());
  const std::string told = events("one");
  EXPECT_NE(told.find("step_skipped"), std::string::npos) << told;
  const auto lines = metrics("one");
  ASSERT_EQ(lines.size(), static_cast<size_t>(kSteps));
  for (size_t step = 3; step <= 5; ++step)
    EXPECT_NE(lines[step - 1].find("\"loss\": null, \"grad_norm\": null"), std::string::npos);
  const std::string whole = read_file(posix_files(), run_dir("one") + "/metrics.jsonl").value();
  for (const char* part : {"\"skipped\": 1}", "\"skipped\": 3}"})
    EXPECT_NE(whole.find(part), std::string::npos) << whole;

  Poison second;
  ASSERT_TRUE(generation("two", settings(second, 2)).ok());
  EXPECT_EQ(metrics("two"), lines);
  EXPECT_EQ(state("two"), state("one"));

  Poison third;
  RunSettings stopped = settings(third, 4);
  stopped.stop_after = 7;
  EXPECT_EQ(generation("three", stopped).code(), Code::kDrained);
  ASSERT_TRUE(generation("three", {.ranks = 2, .skip_nonfinite = true}).ok());
  EXPECT_EQ(metrics("three"), lines);
  EXPECT_EQ(state("three"), state("one"));
}

TEST_F(NonfiniteTest, TheStateIsSavedBeforeTheRunStops) {
  for (const bool skip : {false, true}) {
    Poison poison;
    RunSettings settings;
    settings.ranks = 2;
    settings.skip_nonfinite = skip;
    settings.max_skipped = 2;
    settings.touch = [&](const StepMetrics& metrics, Engine& engine) {
      if (metrics.step == 3) poison.swap(engine);
    };
    const std::string name = skip ? "limit" : "stop";
    const Status status = generation(name, settings);
    EXPECT_EQ(status.code(), Code::kBadData);
    const int64_t last = skip ? 5 : 3;
    const std::string path = run_dir(name) + "/checkpoints/" + checkpoint_name(last);
    for (const std::string& part :
         {fmt::format("step {}: loss nan", last + 1), path, std::string("optimizer.nonfinite")})
      EXPECT_NE(status.message().find(part), std::string::npos) << status.message();
    const auto saved = open_checkpoint(posix_files(), path);
    ASSERT_TRUE(saved.ok()) << saved.status().message();
    EXPECT_EQ(saved->info.num_skipped_in_row, skip ? 2 : 0);
    EXPECT_EQ(saved->info.num_skipped, skip ? 2 : 0);
  }
}

// Nothing can be saved: the reason of both is told.
TEST_F(NonfiniteTest, AStateThatCannotBeSavedIsTold) {
  FaultyFiles files;
  Poison poison;
  RunSettings settings;
  settings.touch = [&](const StepMetrics& metrics, Engine& engine) {
    if (metrics.step != 3) return;
    poison.swap(engine);
    files.set_capacity(0);
  };
  const Status status = generation("run", settings, files);
  EXPECT_EQ(status.code(), Code::kBadData);
  for (const char* part : {"loss nan", "could not be saved", "No space left"})
    EXPECT_NE(status.message().find(part), std::string::npos) << status.message();
}

}  // namespace
}  // namespace leasehold
