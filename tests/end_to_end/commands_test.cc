// Tests the messages and exit codes of the commands, for good and bad input.
#include <algorithm>
#include <csignal>
#include <sys/mount.h>
#include <unistd.h>

#include "runtime/base/files.h"
#include "tests/end_to_end/job_fixture.h"

namespace leasehold {
namespace {

class CommandsTest : public JobFixture {
 protected:
  void damage(const std::string& path, size_t at) {
    std::string content = read_file(posix_files(), path).value();
    content.at(at) = static_cast<char>(content[at] ^ 4);
    throw_if_error(publish_file(posix_files(), path, content, "damage"));
  }

  std::string checkpoint(const std::string& name, int step) {
    return fmt::format("{}/checkpoints/step-{:08d}", run_dir(name), step);
  }
};

TEST_F(CommandsTest, EvaluateAgreesWithTheRunsOwnValidation) {
  ASSERT_EQ(train(2, "run").exit_code, 0);
  const Finished evaluated = train_tool({"evaluate", checkpoint("run", 50), "--data",
                                         directory_ / "data/validation.bin", "--batch", "2"});
  ASSERT_EQ(evaluated.exit_code, 0) << evaluated.errors;
  const std::string last = metrics("run").back();
  const size_t at = last.find("\"validation_loss\": ") + 19;
  const double own = std::stod(last.substr(at));
  const double evaluated_loss =
      std::stod(evaluated.output.substr(evaluated.output.find("\"loss\":") + 7));
  EXPECT_EQ(own, evaluated_loss) << evaluated.output;
  EXPECT_EQ(evaluated.errors.find("windows of"), std::string::npos) << evaluated.errors;
  // Windows are shorter on request, or because the file is short.
  const auto evaluate = [&](const std::string& data, const std::vector<std::string>& more) {
    std::vector<std::string> command = {"evaluate", run_dir("run"), "--data", data};
    command.insert(command.end(), more.begin(), more.end());
    return train_tool(command);
  };
  const Finished halves = evaluate(directory_ / "data/validation.bin", {"--sequence", "8"});
  EXPECT_EQ(halves.exit_code, 0) << halves.errors;
  EXPECT_NE(halves.output.find("\"sequence\":8"), std::string::npos) << halves.output;
  expect_ended(evaluate(directory_ / "data/validation.bin", {"--sequence", "1000"}), 64,
               {"--sequence 1000", "positions"});
  std::string content = read_file(posix_files(), directory_ / "data/validation.bin").value();
  content.resize(1024 + 2 * 7);
  content[8] = 7, content[9] = content[10] = content[11] = 0;  // the header's count
  throw_if_error(publish_file(posix_files(), directory_ / "short.bin", content, "test"));
  expect_ended(evaluate(directory_ / "short.bin", {}), 0, {"7 tokens", "windows of 6"});
  expect_ended(evaluate(directory_ / "short.bin", {"--sequence", "7"}), 65, {"short.bin"});
  const std::vector<std::string> on_gpu = {
      "evaluate", run_dir("run"), "--data", directory_ / "data/validation.bin", "--device", "cuda"};
  expect_ended(train_tool(on_gpu, without_gpus()), 78, {"--device cuda: "});
}

TEST_F(CommandsTest, SampleGoesOnFromThePromptAndIsTheSameForOneSeed) {
  ASSERT_EQ(train(1, "run").exit_code, 0);
  const std::vector<std::string> command = {"sample", run_dir("run"), "--prompt",
                                            "in the", "--tokens",     "40"};
  const Finished first = train_tool(command);
  ASSERT_EQ(first.exit_code, 0) << first.errors;
  EXPECT_TRUE(first.output.starts_with("in the"));
  EXPECT_GE(first.output.size(), 46U);
  EXPECT_EQ(train_tool(command).output, first.output);
  // Read the same prompt from a file; the text outgrows the model's positions.
  throw_if_error(publish_file(posix_files(), directory_ / "prompt.txt", "in the", "test"));
  EXPECT_EQ(train_tool({"sample", run_dir("run"), "--prompt-file", directory_ / "prompt.txt",
                        "--tokens", "40"})
                .output,
            first.output);
  const auto refused = [&](const std::vector<std::string>& more,
                           const std::vector<std::string>& words) {
    std::vector<std::string> with = {"sample", run_dir("run")};
    with.insert(with.end(), more.begin(), more.end());
    expect_ended(train_tool(with), 64, words);
  };
  refused({}, {"--prompt"});
  refused({"--prompt", "a", "--prompt-file", "b"}, {"prompt"});
  refused({"--prompt", "a", "--top-p", "0"}, {"--top-p"});
  refused({"--prompt", "a", "--top-p", "1.5"}, {"--top-p"});
  refused({"--prompt", "a", "--begin-token", "own"}, {"--begin-token own"});
}

// Checks that a checkpoint alone suffices to encode and decode text with its own vocabulary.
TEST_F(CommandsTest, SampleAndEvaluateUseTheBpeOfTheCheckpoint) {
  const Finished prepared =
      tool({"prepare", "--tokenizer", std::string(LEASEHOLD_FIXTURES) + "/bpe", "--output",
            directory_ / "bpe", "--validation-fraction", "0.2", directory_ / "text.txt"});
  ASSERT_EQ(prepared.exit_code, 0) << prepared.errors;
  // Use a vocabulary that was rounded up: no id after the tokenizer's may be sampled.
  const Finished trained = train(1, "run",
                                 {"--set", "data.train=" + (directory_ / "bpe/train.bin"), "--set",
                                  "data.validation=" + (directory_ / "bpe/validation.bin"), "--set",
                                  "model.vocab=1792", "--set", "run.steps=10"});
  ASSERT_EQ(trained.exit_code, 0) << trained.errors;
  posix_files().remove_all(directory_ / "bpe/tokenizer.json").ok();
  const Finished evaluated =
      train_tool({"evaluate", run_dir("run"), "--data", directory_ / "bpe/validation.bin"});
  EXPECT_EQ(evaluated.exit_code, 0) << evaluated.errors;
  const std::string prompt = "in the \xE2\x98\xBA\xFF light";
  for (const char* temperature : {"0", "50"}) {
    const Finished sampled = train_tool({"sample", run_dir("run"), "--prompt", prompt, "--tokens",
                                         "30", "--temperature", temperature, "--ignore-end"});
    ASSERT_EQ(sampled.exit_code, 0) << sampled.errors;
    EXPECT_TRUE(sampled.output.starts_with(prompt));
    EXPECT_GE(sampled.output.size(), prompt.size() + 30);
  }
}

TEST_F(CommandsTest, DryRunPrintsMemoryAndTouchesNothing) {
  const Finished finished = train(2, "dry", {"--dry-run"});
  ASSERT_EQ(finished.exit_code, 0) << finished.errors;
  for (const std::string word : {"parameters", "gradients", "optimizer", "activations", "total"}) {
    EXPECT_NE(finished.output.find(word), std::string::npos) << finished.output;
  }
  EXPECT_FALSE(posix_files().exists(run_dir("dry")));
}

TEST_F(CommandsTest, ForecastsStandAlone) {
  const Finished asked = train_tool({job_, "--forecast", "4:1:1:1", "--forecast", "2:2:1:3"});
  ASSERT_EQ(asked.exit_code, 0) << asked.errors;
  EXPECT_NE(asked.output.find("{\"world\": 2, \"pipeline\": 2, \"chunks\": 1, \"zero\": 3, "),
            std::string::npos)
      << asked.output;
  EXPECT_FALSE(posix_files().exists(run_dir("run")));
  expect_ended(train_tool({job_, "--forecast", "4:1"}), 64, {"WORLD:PIPELINE:CHUNKS:ZERO"});
  expect_ended(train_tool({job_, "--forecast", "4:3:1:1"}), 78, {"4:3:1:1", "parallel.pipeline"});
  for (const std::vector<std::string>& other : std::vector<std::vector<std::string>>{
           {"--dry-run"}, {"--stop-after", "3"}, {"--world", "2"}, {"--fork"}}) {
    std::vector<std::string> command = {job_, "--forecast", "4:1:1:1"};
    command.insert(command.end(), other.begin(), other.end());
    expect_ended(train_tool(command), 64, {"--forecast", other.front()});
  }
}

// A head node has no GPU, and perhaps a build without CUDA.
TEST_F(CommandsTest, ForecastsForGpusNeedNone) {
  const auto on_gpus = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {job_, "--set", "device.kind=cuda"});
    return train_tool(arguments, without_gpus());
  };
  const Finished asked = on_gpus({"--forecast", "4:1:1:1", "--forecast", "2:2:1:3"});
  ASSERT_EQ(asked.exit_code, 0) << asked.errors;
  EXPECT_NE(asked.output.find("{\"world\": 2, \"pipeline\": 2, \"chunks\": 1, \"zero\": 3, "),
            std::string::npos)
      << asked.output;
  const Finished dry = on_gpus({"--dry-run", "--world", "4"});
  ASSERT_EQ(dry.exit_code, 0) << dry.errors;
  EXPECT_NE(dry.output.find("staging"), std::string::npos) << dry.output;
  // A dry run for the running ranks does need a GPU.
  expect_ended(on_gpus({"--dry-run"}), 78, {"device.kind = \"cuda\""});
}

TEST_F(CommandsTest, OneRankNeedsNoMpirun) {
  ASSERT_EQ(train_tool({job_, "--set", "run.dir=" + run_dir("alone")}).exit_code, 0);
  ASSERT_EQ(train(2, "two").exit_code, 0);
  EXPECT_EQ(metrics("alone"), metrics("two"));
}

// Each rank reads job and data for itself. Takes about 2 s, for starts of mpirun.
TEST_F(CommandsTest, RanksThatWereGivenDifferentThingsAreRefusedBeforeAnythingIsWritten) {
  const auto start_with = [&](const std::vector<std::string>& others) {
    std::vector<std::string> command = train_command(1, "mixed");
    const std::vector<std::string> second = train_command(1, "mixed", others);
    command.emplace_back(":");
    command.insert(command.end(), std::find(second.begin(), second.end(), "-np"), second.end());
    return run_program(command, directory_.path(), 60, mpi_environment());
  };
  const std::string other = directory_ / "data/validation.bin";
  expect_ended(start_with({"--set", "data.train=" + other}), 78,
               {"rank 1", "the digest of data.train is"});
  expect_ended(start_with({"--set", "optimizer.lr=0.5"}), 78,
               {"rank 1", "optimizer.lr is 0.5 here and"});
  expect_ended(start_with({"--stop-after", "1"}), 78, {"--stop-after is 1 here and not given"});
  EXPECT_FALSE(posix_files().exists(run_dir("mixed")));
  expect_ended(start_with({"--set", "device.threads=2", "--stop-after", "1"}), 78,
               {"--stop-after"});
}

TEST_F(CommandsTest, BadJobFilesAreRefusedBeforeAnythingIsWritten) {
  const auto refused = [&](const std::string& setting, int code,
                           const std::vector<std::string>& words) {
    SCOPED_TRACE(setting);
    expect_ended(train(2, "refused", {"--set", setting}), code, words);
    EXPECT_FALSE(posix_files().exists(run_dir("refused")));
  };
  refused("optimizer.learning_rate=1", 78, {"learning_rate"});
  refused("batch.sequnces=16", 78, {"sequnces", "sequences"});
  refused("run.steps=many", 78, {"run.steps"});
  refused("model.heads=5", 78, {"heads", "hidden"});
  refused("batch.sequences=2", 78, {"rank"});
  refused("data.train=missing.bin", 66, {"missing.bin"});
  refused("parallel.tensor=3", 78, {"parallel.tensor"});
  refused("parallel.pipeline=3", 78, {"parallel.pipeline", "model.layers"});
  refused("parallel.chunks=2", 78, {"parallel.chunks", "parallel.pipeline"});
  refused("device.kind=tpu", 78, {"device.kind"});
  refused("model.vocab=100", 78, {"vocab"});
  expect_ended(train_tool({job_, "--bogus"}), 64, {"bogus"});
  expect_ended(train_tool({directory_ / "none.toml"}), 66, {"none.toml"});
}

TEST_F(CommandsTest, ThreadsOnOneBoundCoreAreRefused) {
  if (::sysconf(_SC_NPROCESSORS_ONLN) < 2) GTEST_SKIP() << "needs two cores";
  const auto command = train_command(1, "bound", {"--set", "device.threads=2"});
  expect_ended(run_program(command, directory_.path(), 60, {"LEASEHOLD_BIND=core"}), 78,
               {"--bind-to none"});
}

TEST_F(CommandsTest, BadTokenFilesAreRefused) {
  const std::string train_bin = directory_ / "data/train.bin";
  const std::string good = read_file(posix_files(), train_bin).value();
  const auto with = [&](const std::string& content, const std::vector<std::string>& words) {
    throw_if_error(publish_file(posix_files(), train_bin, content, "test"));
    expect_ended(train(2, "refused"), 65, words);
  };
  with(good.substr(0, good.size() - 3), {"train.bin"});
  with(good.substr(0, 100), {"train.bin"});
  with("x" + good.substr(1), {"train.bin", "not a token file"});
  // Put tokens that are no bytes everywhere, so that the first window holds one.
  std::string above = good;
  for (size_t at = 1025; at < above.size(); at += 2) above[at] = 9;
  with(above, {"train.bin", "vocab"});
}

TEST_F(CommandsTest, AnUnwritableRunDirectoryIsAStorageError) {
  throw_if_error(publish_file(posix_files(), directory_ / "file", "", "test"));
  expect_ended(train(2, "file/run"), 74, {"file/run"});
}

TEST_F(CommandsTest, ASecondOwnerIsRefusedAndTheFirstGoesOn) {
  Process first(train_command(2, "owned", {"--set", "run.steps=100000"}), directory_.path(),
                mpi_environment());
  ASSERT_TRUE(first.wait_for_text("step ", 30)) << first.errors();
  expect_ended(train(2, "owned", {"--set", "run.steps=100000"}), 78, {"pid"});
  first.signal(SIGUSR1);
  EXPECT_EQ(first.wait(60).exit_code, 75);
}

TEST_F(CommandsTest, DamagedCheckpointsAreFoundAndNamed) {
  ASSERT_EQ(train(2, "run", {"--stop-after", "10"}).exit_code, 75);
  const std::string shard = checkpoint("run", 10) + "/shard-00001-of-00002.safetensors";
  EXPECT_EQ(tool({"inspect", run_dir("run")}).exit_code, 0);
  damage(shard, 5000);
  const Finished inspected = tool({"inspect", run_dir("run")});
  EXPECT_EQ(inspected.exit_code, 65);
  EXPECT_NE((inspected.output + inspected.errors).find("shard-00001"), std::string::npos);
  expect_ended(train(2, "run"), 65, {"shard-00001"});
  expect_ended(train_tool({"sample", run_dir("run"), "--prompt", "a"}), 65, {"shard-00001"});
  throw_if_error(posix_files().remove_all(shard));
  expect_ended(train(1, "run"), 65, {"shard-00001"});
}

TEST_F(CommandsTest, ACheckpointOfAnotherModelIsRefused) {
  ASSERT_EQ(train(2, "run", {"--stop-after", "10"}).exit_code, 75);
  expect_ended(train(2, "run", {"--set", "model.hidden=64"}), 78, {"model.hidden", "32", "64"});
  ASSERT_EQ(train(2, "run").exit_code, 0);  // nothing was lost
}

TEST_F(CommandsTest, AFullDiskStopsTheSaveAndLosesNothing) {
  const std::string disk = directory_ / "disk";
  throw_if_error(posix_files().make_directories(disk));
  if (::geteuid() != 0 || ::mount("none", disk.c_str(), "tmpfs", 0, "size=700k") != 0) {
    GTEST_SKIP() << "a small file system needs root and mount(2)";
  }
  // One checkpoint (3 x 4 bytes for each of 30 thousand parameters) fits, a second one does not.
  const Finished full = train(2, "disk/run", {"--set", "checkpoint.every_steps=10"});
  EXPECT_EQ(full.exit_code, 74) << full.errors;
  EXPECT_NE(full.errors.find("No space left"), std::string::npos) << full.errors;
  EXPECT_EQ(tool({"inspect", run_dir("disk/run")}).exit_code, 0);
  EXPECT_NE(tool({"inspect", run_dir("disk/run")}).output.find("10"), std::string::npos);
  // With room again the run continues from the last good checkpoint.
  EXPECT_EQ(::mount("none", disk.c_str(), "tmpfs", MS_REMOUNT, "size=20m"), 0);
  EXPECT_EQ(train(3, "disk/run").exit_code, 0);
  ASSERT_EQ(train(1, "undisturbed").exit_code, 0);
  EXPECT_EQ(metrics("disk/run"), metrics("undisturbed"));
  EXPECT_EQ(::umount(disk.c_str()), 0);
}

}  // namespace
}  // namespace leasehold
