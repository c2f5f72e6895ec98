// Tests the programs on GPUs, of the machine or emulated: the same job on any number of ranks and
// in any layout, stopped, resumed and supervised over leases, is the same training; and a run moves
// between GPUs and CPUs through its checkpoints.
#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <fmt/format.h>

#include "runtime/base/files.h"
#include "tests/end_to_end/launch_fixture.h"

namespace leasehold {
namespace {

constexpr int kRefused = 78;

// Returns true if a job was refused because the machine lacks GPUs, or enough of them. Any other
// refusal is a failure.
bool lacks_gpus(const Finished& finished) {
  constexpr const char* kReasons[] = {"this machine has no NVIDIA driver",
                                      "the driver shows no device", "of this node wants device",
                                      "has compute capability"};
  return !LEASEHOLD_HAS_GPUS && finished.exit_code == kRefused &&
         std::ranges::any_of(kReasons, [&](const char* reason) {
           return finished.errors.find(reason) != std::string::npos;
         });
}

std::vector<std::string> on_gpus(std::vector<std::string> settings = {}) {
  settings.insert(settings.begin(), "device.kind=cuda");
  std::vector<std::string> options;
  for (const std::string& setting : settings) options.insert(options.end(), {"--set", setting});
  return options;
}

std::vector<std::string> stopping_after(std::vector<std::string> options, const char* step) {
  options.insert(options.end(), {"--stop-after", step});
  return options;
}

class GpuTest : public JobFixture, public testing::WithParamInterface<const char*> {
 protected:
  // The tests start at most four ranks. They run on one node, or if it lacks the GPUs, on virtual
  // nodes that share its GPUs.
  void SetUp() override {
    Finished tried = train(4, "tried", {"--set", "device.kind=cuda", "--dry-run"});
    if (tried.exit_code == kRefused) {
      a_node_each_ = true;
      tried = train(4, "tried", {"--set", "device.kind=cuda", "--dry-run"});
    }
    if (lacks_gpus(tried)) GTEST_SKIP() << tried.errors;
    ASSERT_EQ(tried.exit_code, 0) << tried.errors;
  }

  void expect_equal(const std::string& name, const std::string& like) const {
    EXPECT_EQ(metrics(name), metrics(like)) << name;
    EXPECT_EQ(state_digest(name), state_digest(like)) << name;
  }

  // Returns the number after "loss": on each line.
  std::vector<double> losses(const std::string& name) const {
    std::vector<double> found;
    for (const std::string& line : metrics(name)) {
      const size_t at = line.find("\"loss\": ");
      if (at != std::string::npos) found.push_back(std::stod(line.substr(at + 8)));
    }
    return found;
  }
};

TEST_P(GpuTest, NotOneBit) {
  const std::string precision = fmt::format("device.precision={}", GetParam());
  const auto with = [&](std::vector<std::string> settings) {
    settings.insert(settings.end(), {precision, "run.steps=20"});
    return on_gpus(std::move(settings));
  };
  ASSERT_EQ(train(1, "undisturbed", with({})).exit_code, 0);
  ASSERT_EQ(metrics("undisturbed").size(), 20);
  EXPECT_EQ(train(2, "data", with({})).exit_code, 0);
  expect_equal("data", "undisturbed");
  EXPECT_EQ(
      train(4, "changing", stopping_after(with({"parallel.pipeline=2", "parallel.zero=3"}), "6"))
          .exit_code,
      75);
  EXPECT_EQ(train(2, "changing", stopping_after(with({"parallel.zero=2"}), "12")).exit_code, 75);
  EXPECT_EQ(train(2, "changing", with({"parallel.pipeline=2"})).exit_code, 0);
  expect_equal("changing", "undisturbed");
}

INSTANTIATE_TEST_SUITE_P(Precision, GpuTest, testing::Values("fp32", "bf16"),
                         [](const auto& tested) { return std::string(tested.param); });

// A head node without GPUs forecasts the allocations of GPUs.
TEST_P(GpuTest, IsForecastWithoutAGpu) {
  const std::vector<std::string> arguments = on_gpus(
      {fmt::format("device.precision={}", GetParam()), "parallel.pipeline=2", "parallel.zero=3"});
  std::vector<std::string> here = arguments;
  here.emplace_back("--dry-run");
  const Finished with = train(4, "dry", here);
  ASSERT_EQ(with.exit_code, 0) << with.errors;
  std::vector<std::string> elsewhere = {job_};
  elsewhere.insert(elsewhere.end(), arguments.begin(), arguments.end());
  elsewhere.insert(elsewhere.end(), {"--dry-run", "--world", "4"});
  const Finished without = train_tool(elsewhere, without_gpus());
  ASSERT_EQ(without.exit_code, 0) << without.errors;
  EXPECT_EQ(without.output, with.output);
}

TEST_P(GpuTest, EvaluatesAndSamples) {
  const std::string precision = fmt::format("device.precision={}", GetParam());
  const std::vector<std::string> job =
      on_gpus({precision, "run.steps=6", "run.validate_every_steps=6"});
  ASSERT_EQ(train(1, "run", job).exit_code, 0);
  const auto evaluate = [&](const char* device) {
    const Finished evaluated =
        train_tool({"evaluate", run_dir("run"), "--data", directory_ / "data/validation.bin",
                    "--batch", "2", "--device", device});
    EXPECT_EQ(evaluated.exit_code, 0) << evaluated.errors;
    const size_t at = evaluated.output.find("\"loss\":");
    return at == std::string::npos ? 0 : std::stod(evaluated.output.substr(at + 7));
  };
  const std::string last = metrics("run").back();
  const double own = std::stod(last.substr(last.find("\"validation_loss\": ") + 19));
  EXPECT_EQ(evaluate("cuda"), own);
  EXPECT_NEAR(evaluate("cpu") / own, 1, 1e-3);
  const std::vector<std::string> sample = {
      "sample", run_dir("run"), "--prompt", "in the", "--tokens", "8", "--device", "cuda"};
  const Finished sampled = train_tool(sample);
  ASSERT_EQ(sampled.exit_code, 0) << sampled.errors;
  EXPECT_TRUE(sampled.output.starts_with("in the"));
  EXPECT_GE(sampled.output.size(), 14);
  EXPECT_EQ(train_tool(sample).output, sampled.output);
  std::vector<std::string> threads = sample;
  threads.insert(threads.end(), {"--threads", "2"});
  expect_ended(train_tool(threads), 64, {"--threads 2"});
}

using GpuMoveTest = GpuTest;

// A lost peer (69) would be started again and again.
TEST_P(GpuMoveTest, AJobThatDoesNotFitIsRefusedAtTheStart) {
  if (!LEASEHOLD_HAS_GPUS) GTEST_SKIP() << "only an emulated GPU can be made small";
  std::vector<std::string> environment = mpi_environment();
  environment.emplace_back("LEASEHOLD_EMULATED_GPU_MEMORY=2000000");
  const Finished finished =
      run_program(train_command(2, "small", on_gpus()), directory_.path(), 60, environment);
  expect_ended(finished, 78, {"no memory for ", "use more ranks", "batch.microbatch", "--dry-run"});
}

// Slurm with --gpus-per-task shows each task one GPU: its own, or where it was told wrongly the
// same.
TEST_P(GpuMoveTest, ARankMaySeeItsOwnGpuAlone) {
  if (a_node_each_) GTEST_SKIP() << "this machine has not two GPUs";
  const auto run = [&](const std::string& name, const char* visible) {
    std::vector<std::string> command =
        train_command(2, name, on_gpus({"run.steps=2", "optimizer.warmup_steps=0"}));
    command.insert(command.begin() + 3,
                   {"sh", "-c", fmt::format("CUDA_VISIBLE_DEVICES={} exec \"$@\"", visible), "sh"});
    return run_program(command, directory_.path(), 60, mpi_environment());
  };
  const Finished own = run("own", "$OMPI_COMM_WORLD_LOCAL_RANK");
  EXPECT_EQ(own.exit_code, 0) << own.errors;
  ASSERT_EQ(train(2, "all", on_gpus({"run.steps=2", "optimizer.warmup_steps=0"})).exit_code, 0);
  expect_equal("own", "all");
  expect_ended(run("same", "0"), 78, {"ranks 0 and 1 of node ", "the same GPU"});
}

// An MPI that knows CUDA starts the driver, which reads these then and never again.
TEST_P(GpuMoveTest, TheDriversEnvironmentStandsBeforeMpiStarts) {
  const std::string noted = directory_ / "mpi_start";
  std::vector<std::string> environment = mpi_environment();
  environment.insert(environment.end(),
                     {"LEASEHOLD_MPI_START=" + noted, "LD_PRELOAD=" LEASEHOLD_PRELOAD_MPI_START});
  const Finished finished =
      run_program(train_command(1, "dry", on_gpus({"run.steps=1", "optimizer.warmup_steps=0"})),
                  directory_.path(), 60, environment);
  ASSERT_EQ(finished.exit_code, 0) << finished.errors;
  EXPECT_EQ(read_file(posix_files(), noted).value(), "loading=EAGER connections=32\n");
}

// Allows a difference in rounding, which must be reported; otherwise the training is the same.
TEST_P(GpuMoveTest, ARunMovesBetweenGpusAndCpus) {
  const std::string steps = "run.steps=20";
  const std::string report = "run.identity=report";
  ASSERT_EQ(train(2, "cpu", {"--set", steps}).exit_code, 0);
  ASSERT_EQ(train(2, "away", stopping_after({"--set", steps}, "10")).exit_code, 75);
  ASSERT_EQ(train(2, "back", stopping_after(on_gpus({steps}), "10")).exit_code, 75);
  // The digests of all operations differ, as on another machine.
  expect_ended(train(2, "away", on_gpus({steps})), 78, {"run.identity"});
  ASSERT_EQ(train(2, "away", on_gpus({steps, report})).exit_code, 0);
  ASSERT_EQ(train(2, "back", {"--set", steps, "--set", report}).exit_code, 0);
  const std::vector<double> like = losses("cpu");
  ASSERT_EQ(like.size(), 20);
  for (const std::string name : {"away", "back"}) {
    const std::vector<double> moved = losses(name);
    ASSERT_EQ(moved.size(), like.size()) << name;
    for (size_t i = 0; i < like.size(); ++i) EXPECT_NEAR(moved[i] / like[i], 1, 1e-4) << name << i;
  }
  // Up to the stop the run is the same run on CPUs.
  for (size_t i = 0; i < 10; ++i) EXPECT_EQ(losses("away")[i], like[i]);
}

INSTANTIATE_TEST_SUITE_P(Precision, GpuMoveTest, testing::Values("fp32"),
                         [](const auto& tested) { return std::string(tested.param); });

using GpuAlgorithmsTest = GpuTest;

// Lets the emulated library prefer other algorithms later, which only a new run adopts; and at last
// lets it lack one.
TEST_P(GpuAlgorithmsTest, AResumedRunKeepsThoseOfItsProducts) {
  if (!LEASEHOLD_HAS_GPUS) GTEST_SKIP() << "only the emulated library changes its mind when told";
  constexpr const char* kHeuristics = "LEASEHOLD_EMULATION_HEURISTICS";
  const auto options = on_gpus({fmt::format("device.precision={}", GetParam()), "run.steps=6"});
  ASSERT_EQ(train(1, "undisturbed", options).exit_code, 0);
  ASSERT_EQ(train(2, "resumed", stopping_after(options, "2")).exit_code, 75);
  ::setenv(kHeuristics, "1", 1);
  const Finished another = train(1, "another", options);
  const Finished resumed = train(1, "resumed", stopping_after(options, "4"));
  ::setenv(kHeuristics, "2", 1);
  const Finished refused = train(2, "resumed", options);
  // The first GPU prefers the first algorithms, the second GPU the later ones.
  ::setenv(kHeuristics, "01", 1);
  const Finished finished = train(2, "resumed", options);
  ::unsetenv(kHeuristics);
  ASSERT_EQ(another.exit_code, 0) << another.errors;
  EXPECT_NE(metrics("another"), metrics("undisturbed"));
  EXPECT_EQ(resumed.exit_code, 75) << resumed.errors;
  expect_ended(refused, 78, {"the product ", "cannot run on cuBLASLt", "run.identity"});
  EXPECT_EQ(finished.exit_code, 0) << finished.errors;
  expect_equal("resumed", "undisturbed");
  const Finished shown = tool({"inspect", run_dir("resumed")});
  EXPECT_NE(shown.output.find(" products, by cuBLASLt "), std::string::npos) << shown.output;
}

INSTANTIATE_TEST_SUITE_P(Precision, GpuAlgorithmsTest, testing::Values("bf16"),
                         [](const auto& tested) { return std::string(tested.param); });

class GpuLaunchTest : public LaunchFixture {
 protected:
  GpuLaunchTest() : LaunchFixture(30) {}
  // Steps on an emulated GPU are slow.
  const std::vector<std::string> small_ = on_gpus({"batch.sequences=8", "batch.lanes=4"});
};

// A rank is killed, then a lease ends.
TEST_F(GpuLaunchTest, ALostRankAndALeaseThatEndsChangeNoBit) {
  const Finished alone = train(1, "undisturbed", small_);
  if (lacks_gpus(alone)) GTEST_SKIP() << alone.errors;
  ASSERT_EQ(alone.exit_code, 0) << alone.errors;
  write_calendar({{"owned-1"}, {"texas-a"}});
  launch(small_);
  ASSERT_TRUE(wait_step(4)) << supervisor().errors();
  const auto victim = rank(1);
  ASSERT_TRUE(victim);
  ::kill(victim->pid, SIGKILL);
  ASSERT_TRUE(wait_event("restored")) << events(run_);
  ASSERT_TRUE(wait_step(last_step() + 2)) << supervisor().errors();
  // The end is within the margin, so no other generation begins there.
  write_calendar({{"owned-1"}, {.host = "texas-a", .end_s = now_s() + 1}});
  const Finished finished = supervisor().wait(180);
  ASSERT_EQ(finished.exit_code, 0) << finished.errors << events(run_);
  EXPECT_EQ(metrics(run_), metrics("undisturbed"));
  EXPECT_EQ(state_digest(run_), state_digest("undisturbed"));
  EXPECT_EQ(run_events("drained").size(), 1) << events(run_);
  EXPECT_TRUE(memory_files().empty());
}

}  // namespace
}  // namespace leasehold
