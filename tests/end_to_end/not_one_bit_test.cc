// Tests the programs as users run them: the same job on any number of ranks, stopped and restarted,
// is the same training.
#include <csignal>
#include <random>

#include "runtime/base/clock.h"
#include "tests/end_to_end/job_fixture.h"

namespace leasehold {
namespace {

class NotOneBitTest : public JobFixture {
 protected:
  // Makes the undisturbed run on one rank, which every other run must equal.
  void run_undisturbed(const std::vector<std::string>& arguments = {}) {
    const Finished finished = train(1, "undisturbed", arguments);
    ASSERT_EQ(finished.exit_code, 0) << finished.errors;
    ASSERT_EQ(metrics("undisturbed").size(), 50U);
  }

  void expect_like_undisturbed(const std::string& name) {
    EXPECT_EQ(metrics(name), metrics("undisturbed")) << name;
    EXPECT_EQ(state_digest(name), state_digest("undisturbed")) << name;
  }
};

TEST_F(NotOneBitTest, NumberOfRanks) {
  run_undisturbed();
  for (const int ranks : {2, 3, 4}) {
    const std::string name = "ranks-" + std::to_string(ranks);
    EXPECT_EQ(train(ranks, name).exit_code, 0);
    expect_like_undisturbed(name);
  }
}

TEST_F(NotOneBitTest, FourLanes) {
  run_undisturbed({"--set", "batch.lanes=4"});
  for (const int ranks : {2, 3, 4}) {
    const std::string name = "ranks-" + std::to_string(ranks);
    EXPECT_EQ(train(ranks, name, {"--set", "batch.lanes=4"}).exit_code, 0);
    expect_like_undisturbed(name);
  }
}

TEST_F(NotOneBitTest, SevenMicrobatches) {
  const std::vector<std::string> seven = {"--set", "batch.sequences=14"};
  run_undisturbed(seven);
  for (const int ranks : {2, 3, 4}) {
    const std::string name = "ranks-" + std::to_string(ranks);
    EXPECT_EQ(train(ranks, name, seven).exit_code, 0);
    expect_like_undisturbed(name);
  }
}

TEST_F(NotOneBitTest, ZeroStageThreadsAndDeviceMode) {
  run_undisturbed();
  EXPECT_EQ(train(3, "zero-0", {"--set", "parallel.zero=0"}).exit_code, 0);
  expect_like_undisturbed("zero-0");
  EXPECT_EQ(train(2, "threads", {"--set", "device.threads=2"}).exit_code, 0);
  expect_like_undisturbed("threads");
  EXPECT_EQ(train(2, "asynchronous",
                  {"--set", "device.mode=asynchronous", "--set", "device.delay_seed=11"})
                .exit_code,
            0);
  expect_like_undisturbed("asynchronous");
}

TEST_F(NotOneBitTest, EveryLayout) {
  run_undisturbed({"--set", "model.layers=4"});
  const auto layout = [](const std::vector<std::string>& settings) {
    std::vector<std::string> options = {"--set", "model.layers=4"};
    for (const std::string& setting : settings) {
      options.insert(options.end(), {"--set", "parallel." + setting});
    }
    return options;
  };
  EXPECT_EQ(train(2, "pipeline", layout({"pipeline=2"})).exit_code, 0);
  expect_like_undisturbed("pipeline");
  EXPECT_EQ(train(3, "zero-2", layout({"zero=2"})).exit_code, 0);
  expect_like_undisturbed("zero-2");
  EXPECT_EQ(train(4, "both", layout({"pipeline=2", "chunks=2", "zero=3"})).exit_code, 0);
  expect_like_undisturbed("both");

  // Change the layout of one run after each stop.
  const auto stopping = [&](std::vector<std::string> options, const char* step) {
    options.insert(options.end(), {"--stop-after", step});
    return options;
  };
  EXPECT_EQ(train(4, "changing", stopping(layout({"pipeline=2", "zero=3"}), "9")).exit_code, 75);
  EXPECT_EQ(train(1, "changing", stopping(layout({}), "14")).exit_code, 75);
  EXPECT_EQ(train(3, "changing", stopping(layout({"zero=2"}), "27")).exit_code, 75);
  EXPECT_EQ(
      train(4, "changing", stopping(layout({"pipeline=4", "schedule=gpipe"}), "33")).exit_code, 75);
  EXPECT_EQ(train(2, "changing", layout({"zero=3"})).exit_code, 0);
  expect_like_undisturbed("changing");
}

// Trains in bf16 across layouts. Checkpoints hold fp32 as well, but the run cannot continue as
// fp32.
TEST_F(NotOneBitTest, Bf16) {
  const auto with = [](std::vector<std::string> settings) {
    settings.emplace_back("device.precision=bf16");
    std::vector<std::string> options;
    for (const std::string& setting : settings) options.insert(options.end(), {"--set", setting});
    return options;
  };
  run_undisturbed(with({}));
  auto sharded = with({"parallel.zero=3"});
  sharded.insert(sharded.end(), {"--stop-after", "20"});
  ASSERT_EQ(train(3, "changing", sharded).exit_code, 75);
  expect_ended(train(2, "changing"), 78, {"device.precision", "'bf16'", "'fp32'", "--fork"});
  ASSERT_EQ(train(2, "changing", with({"parallel.pipeline=2"})).exit_code, 0);
  expect_like_undisturbed("changing");

  // The commands compute with the job's precision.
  const Finished evaluated = train_tool({"evaluate", run_dir("changing"), "--data",
                                         directory_ / "data/validation.bin", "--batch", "2"});
  ASSERT_EQ(evaluated.exit_code, 0) << evaluated.errors;
  const auto number_behind = [](const std::string& text, const std::string& key) {
    return std::stod(text.substr(text.find(key) + key.size()));
  };
  EXPECT_EQ(number_behind(evaluated.output, "\"loss\":"),
            number_behind(metrics("changing").back(), "\"validation_loss\": "));
  const Finished sampled =
      train_tool({"sample", run_dir("changing"), "--prompt", "in the", "--tokens", "10"});
  EXPECT_EQ(sampled.exit_code, 0) << sampled.errors;
  EXPECT_TRUE(sampled.output.starts_with("in the"));

  const Finished forked = train(1, "changing", {"--set", "run.steps=52", "--fork"});
  EXPECT_EQ(forked.exit_code, 0) << forked.errors;
}

// Keeps the tensor degree, which is part of a job's arithmetic, and changes the rest of the layout.
TEST_F(NotOneBitTest, EveryLayoutOverTheTensorAxis) {
  const auto layout = [](std::vector<std::string> settings) {
    settings.insert(settings.end(), {"parallel.tensor=2", "model.family=llama", "model.layers=2"});
    std::vector<std::string> options;
    for (const std::string& setting : settings) options.insert(options.end(), {"--set", setting});
    return options;
  };
  ASSERT_EQ(train(2, "undisturbed", layout({})).exit_code, 0);
  ASSERT_EQ(train(4, "stages", layout({"parallel.pipeline=2"})).exit_code, 0);
  expect_like_undisturbed("stages");

  auto sharded = layout({"parallel.zero=3", "parallel.recompute=block"});
  sharded.insert(sharded.end(), {"--stop-after", "20"});
  ASSERT_EQ(train(4, "changing", sharded).exit_code, 75);
  const Finished uncut = train(2, "changing", {"--set", "model.family=llama"});
  EXPECT_EQ(uncut.exit_code, 78);
  EXPECT_NE(uncut.errors.find("parallel.tensor"), std::string::npos) << uncut.errors;
  ASSERT_EQ(train(2, "changing", layout({})).exit_code, 0);
  expect_like_undisturbed("changing");
}

TEST_F(NotOneBitTest, StoppedBySignalsAtRandomMomentsAndResumedOnOtherRanks) {
  run_undisturbed();
  const uint32_t seed = std::random_device()();
  std::mt19937 random(seed);
  SCOPED_TRACE("seed " + std::to_string(seed));
  int ranks = 3;
  int drained = 0;
  for (int generation = 0; generation < 12; ++generation) {
    Process running(train_command(ranks, "stopped"), directory_.path(), mpi_environment());
    // Start-up takes half a second and the rest not much more, so early and late moments all occur.
    // Before mpirun has started its ranks the signal would end mpirun itself, which is not tested
    // here.
    ASSERT_TRUE(running.wait_for_text("started", 30)) << running.errors();
    const double moment_s = std::uniform_real_distribution<>(0.0, 0.15)(random);
    system_clock().sleep_s(generation == 0 ? 0 : moment_s);
    running.signal(SIGUSR1);
    const Finished finished = running.wait(60);
    // A late signal meets an mpirun whose ranks are done, and ends it.
    if (finished.errors.find("finished: 50 steps") != std::string::npos) break;
    ASSERT_EQ(finished.exit_code, 75) << finished.errors;
    ++drained;
    ranks = 1 + static_cast<int>(random() % 4);
  }
  EXPECT_GE(drained, 1);
  const Finished last = train(2, "stopped");
  ASSERT_EQ(last.exit_code, 0) << last.errors;
  expect_like_undisturbed("stopped");
}

TEST_F(NotOneBitTest, StoppedBySigtermSentToTheRanksThemselves) {
  run_undisturbed();
  Process running(train_command(2, "sigterm"), directory_.path(), mpi_environment());
  ASSERT_TRUE(running.wait_for_text("step ", 30)) << running.errors();
  for (const pid_t rank : children_of(running.pid(), "leasehold-train")) ::kill(rank, SIGTERM);
  const Finished finished = running.wait(60);
  ASSERT_EQ(finished.exit_code, 75) << finished.errors;
  ASSERT_EQ(train(3, "sigterm").exit_code, 0);
  expect_like_undisturbed("sigterm");
}

TEST_F(NotOneBitTest, AKilledRankLosesNothingThatWasSaved) {
  run_undisturbed();
  Process running(train_command(3, "killed", {"--set", "checkpoint.every_steps=10"}),
                  directory_.path(), mpi_environment());
  ASSERT_TRUE(running.wait_for_text("checkpoint_saved", 30)) << running.errors();
  const auto ranks = children_of(running.pid(), "leasehold-train");
  ASSERT_EQ(ranks.size(), 3U);
  ::kill(ranks[1], SIGKILL);
  const Finished finished = running.wait(60);
  EXPECT_FALSE(finished.timed_out);
  EXPECT_NE(finished.exit_code, 0);
  ASSERT_EQ(train(2, "killed").exit_code, 0);
  EXPECT_NE(events("killed").find("\"restored\""), std::string::npos);
  expect_like_undisturbed("killed");
}

TEST_F(NotOneBitTest, AFrozenRankIsNamedAndTheOthersLeave) {
  run_undisturbed();
  Process running(train_command(3, "frozen",
                                {"--set", "launch.stuck_timeout_s=3", "--set", "run.steps=100000"}),
                  directory_.path(), mpi_environment());
  ASSERT_TRUE(running.wait_for_text("step ", 30)) << running.errors();
  const auto ranks = children_of(running.pid(), "leasehold-train");
  ASSERT_EQ(ranks.size(), 3U);
  ::kill(ranks[2], SIGSTOP);
  const Finished finished = running.wait(40);
  ::kill(ranks[2], SIGKILL);
  EXPECT_FALSE(finished.timed_out);
  EXPECT_EQ(finished.exit_code, 69) << finished.errors;
  EXPECT_NE(finished.errors.find("rank "), std::string::npos) << finished.errors;
}

}  // namespace
}  // namespace leasehold
