// `leasehold launch` and the commands about a run, as a user meets them; mpirun is a script.
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "launch/run_memory.h"
#include "launch/supervisor/keeper.h"
#include "launch/supervisor/process_identity.h"
#include "launch/supervisor/world_file.h"
#include "runtime/base/clock.h"
#include "runtime/base/files.h"
#include "runtime/checkpoint/snapshot_slot.h"
#include "tests/support/process.h"
#include "tests/support/temporary_directory.h"

namespace leasehold {
namespace {

constexpr const char* kJob = R"(
[run]
dir = "run"
steps = 100
[model]
layers = 2
hidden = 48
heads = 4
sequence = 32
vocab = 256
[data]
train = "train.bin"
[batch]
sequences = 16
microbatch = 2
[optimizer]
lr = 1e-3
[lease]
calendar = "leases.toml"
)";

class LaunchCommandTest : public ::testing::Test {
 public:
  // Also after a failed test no generation is left.
  ~LaunchCommandTest() override {
    for (int64_t number = 1; number <= 9; ++number) {
      const std::string path = keeper_path(generation_directory(run_dir(), number));
      const auto text = read_file(posix_files(), path);
      if (!text.ok()) continue;
      const auto keeper = parse_identity(*text, path);
      if (keeper.ok()) kill_session(*keeper, /*spare_leader=*/false);
    }
    const auto removed = remove_run_memory(directory_ / "run");
    EXPECT_TRUE(removed.ok());
  }

 protected:
  LaunchCommandTest() {
    write("job.toml", kJob);
    write("train.bin", "");
    write("leases.toml", "[[lease]]\nid = \"x\"\nhosts = [\"a\"]\nslots = 2\n");
  }

  void write(const std::string& name, const std::string& text) {
    std::ofstream(directory_ / name) << text;
  }
  // Writes a script in mpirun's place. For --version it runs `version`: the true launcher's.
  void write_mpirun(const std::string& script,
                    const std::string& version = LEASEHOLD_MPIEXEC " --version") {
    write("mpirun", "#!/bin/sh\n[ \"$1\" = --version ] && exec " + version + "\n" + script);
    ::chmod((directory_ / "mpirun").c_str(), 0755);
  }
  std::vector<std::string> command(const std::vector<std::string>& arguments) const {
    std::vector<std::string> all = {"env", "PATH=" + directory_.path() + ":/usr/bin:/bin",
                                    LEASEHOLD_TOOL};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return all;
  }
  Finished run(const std::vector<std::string>& arguments) const {
    return run_program(command(arguments), directory_.path(), 30);
  }
  void expect(const Finished& finished, int exit_code, std::initializer_list<std::string> parts) {
    EXPECT_EQ(finished.exit_code, exit_code) << finished.errors;
    for (const std::string& part : parts) {
      EXPECT_NE((finished.output + finished.errors).find(part), std::string::npos)
          << part << " is not in: " << finished.output << finished.errors;
    }
  }
  const std::string& run_dir() const { return run_dir_; }
  // For write_mpirun: a line of metrics.
  std::string made_step(int step) const {
    return fmt::format("echo '{{\"step\": {}}}' > {}/metrics.jsonl", step, run_dir());
  }

  TemporaryDirectory directory_;
  std::string run_dir_ = directory_ / "run";
  const std::string job_ = directory_ / "job.toml";
};

TEST_F(LaunchCommandTest, RunsAJobAndCleansUp) {
  write_mpirun("echo \"$@\"; echo generation $LEASEHOLD_GENERATION; " + made_step(100) +
               "; exit 0");
  std::filesystem::create_directories(run_dir());
  std::ofstream(run_dir() + "/lineage") << "of " << directory_.path() << "\n";
  const std::string slot =
      join_path(kSharedMemory, lineage_prefix("of " + directory_.path()) + "x");
  std::ofstream(slot) << "left";
  expect(run({"launch", job_}), 0, {"job_done", "generation  ranks", "2 ranks on a"});
  EXPECT_FALSE(std::filesystem::exists(slot));
  const auto output = read_file(posix_files(), run_dir() + "/generations/1/output.log");
  ASSERT_TRUE(output.ok());
  EXPECT_NE(output->find("-np 2"), std::string::npos) << *output;
  EXPECT_NE(output->find("leasehold-train " + job_), std::string::npos) << *output;
  EXPECT_NE(output->find("generation 1"), std::string::npos) << *output;
  expect(run({"status", run_dir()}), 0, {"no supervisor answers", "the job is done"});
  expect(run({"status", "--json", run_dir()}), 0, {"\"timeline\""});
}

TEST_F(LaunchCommandTest, RefusesALauncherThatItDoesNotKnow) {
  write_mpirun("exit 0", "echo 'Some MPI 1.0'");
  expect(run({"launch", job_}), 78, {"Some MPI 1.0", "Open MPI 4 and 5", "MPICH 4 and 5"});
  EXPECT_FALSE(std::filesystem::exists(run_dir()));
}

// Each rank would train alone.
TEST_F(LaunchCommandTest, RefusesTheLauncherOfAnotherMpi) {
  const Finished version = run_program({LEASEHOLD_MPIEXEC, "--version"}, directory_.path(), 30);
  const bool is_mpich = version.output.find("HYDRA") != std::string::npos;
  write_mpirun("exit 0", is_mpich ? "echo 'mpirun (Open MPI) 5.0.7'"
                                  : "echo 'HYDRA build details: Version: 4.0.2'");
  expect(run({"launch", job_}), 78, {"leasehold-train was built with", "launch.mpirun"});
  EXPECT_FALSE(std::filesystem::exists(run_dir()));
}

TEST_F(LaunchCommandTest, TheJobNamesTheLauncher) {
  expect(run({"launch", job_, "--set", "launch.mpirun=gone/mpirun"}), 66,
         {"there is no " + (directory_ / "gone/mpirun"), "openmpi-bin", "mpich"});
  expect(run({"launch", job_, "--set", "launch.mpirun=no-such-mpirun"}), 66,
         {"there is no no-such-mpirun in PATH"});
  std::filesystem::create_directory(directory_ / "other");
  write_mpirun("echo 'leasehold-train: the other one'; exit 65");
  std::filesystem::rename(directory_ / "mpirun", directory_ / "other/mpirun");
  expect(run({"launch", job_, "--set", "launch.mpirun=other/mpirun"}), 65, {"the other one"});
}

// As MPICH 4.0 does after a signal.
TEST_F(LaunchCommandTest, TheProgramsOwnWordOfItsCodeCounts) {
  write_mpirun("echo 'leasehold-train: the tokens are rotten'; " + made_step(100) +
               "; echo 'leasehold-train ends with exit code 65'; exit 0");
  expect(run({"launch", job_}), 65, {"exit code 65: the tokens are rotten"});
}

TEST_F(LaunchCommandTest, AnMpirunThatEndsWellTooEarlyIsNotBelieved) {
  write_mpirun(made_step(99) + "; exit 0");
  expect(run({"launch", job_}), 70, {"the job stands at step 99 of 100", "3 generations in a row"});
}

TEST_F(LaunchCommandTest, StopsWithTheReasonOfTheRanks) {
  write_mpirun("echo 'leasehold-train: the tokens are rotten'; exit 65");
  expect(run({"launch", job_}), 65, {"exit code 65: the tokens are rotten"});
}

TEST_F(LaunchCommandTest, OperatorsAskWhileItRuns) {
  write_mpirun(
      "exec env --default-signal=USR1 sh -c \"trap 'exit 75' USR1; echo '{\\\"step\\\": 1}' > " +
      run_dir() + "/metrics.jsonl; while :; do sleep 0.02; done\"");
  Process launch(command({"launch", job_}), directory_.path());
  ASSERT_TRUE(launch.wait_for_text("first_new_step", 20)) << launch.errors();
  struct stat control {};
  ASSERT_EQ(::stat((run_dir() + "/supervisor/control.json").c_str(), &control), 0);
  EXPECT_EQ(control.st_mode & 0777, 0600U);
  expect(run({"status", run_dir()}), 0, {"supervised; wait: generation 1 runs"});
  expect(run({"launch", job_}), 78, {"is in use", "pid " + std::to_string(launch.pid())});
  expect(run({"clean", run_dir()}), 78, {"while it is in use"});
  expect(run({"drain", run_dir()}), 0, {});
  const Finished finished = launch.wait(20);
  expect(finished, 75, {"an operator asked for it"});
  expect(run({"drain", run_dir()}), 69, {"leasehold launch"});
}

TEST_F(LaunchCommandTest, ASecondSignalLeavesTheGenerationAlone) {
  write_mpirun("trap '' USR1; while :; do sleep 0.02; done");
  Process launch(command({"launch", job_}), directory_.path());
  ASSERT_TRUE(launch.wait_for_text("generation_started", 20)) << launch.errors();
  launch.signal(SIGINT);
  ASSERT_TRUE(launch.wait_for_text("draining", 20)) << launch.errors();
  launch.signal(SIGINT);
  expect(launch.wait(20), 69, {"generation 1 goes on without a supervisor"});
  expect(run({"clean", run_dir()}), 78, {"a generation runs without a supervisor"});
  expect(run({"status", run_dir()}), 0, {"its generation continues"});
  // The next one takes it up; with a shorter patience it ends it.
  Process next(command({"launch", job_, "--set", "launch.start_timeout_s=0.5"}), directory_.path());
  ASSERT_TRUE(next.wait_for_text("killing", 20)) << next.errors();
  next.signal(SIGTERM);
  expect(next.wait(30), 75, {"generation 1 was adopted"});
}

TEST_F(LaunchCommandTest, RefusesWhatCannotBeLaunched) {
  write_mpirun("exit 0");
  expect(run({"launch"}), 64, {"JOB"});
  expect(run({"launch", directory_ / "gone.toml"}), 66, {"gone.toml"});
  std::string without = kJob;
  write("job.toml", without.substr(0, without.find("[lease]")));
  expect(run({"launch", job_}), 78, {"lease.calendar is missing"});
  write("job.toml", kJob);
  expect(run({"launch", job_, "--set", "launch.hosts=rsh"}), 78, {"launch.hosts"});
  expect(run({"launch", job_, "--set", "launch.hosts=./agent"}), 78, {"is not a program"});
  write("leases.toml", "[[lease]]\nid = 7\n");
  expect(run({"launch", job_}), 78, {"leases.toml"});
  std::filesystem::remove(directory_ / "leases.toml");
  expect(run({"launch", job_}), 66, {"leases.toml"});
}

TEST_F(LaunchCommandTest, TheKeeperIsNoCommandForPeople) {
  expect(run({"keeper"}), 64, {"leasehold launch"});
  expect(run({"keeper", directory_.path(), "--", "true"}), 64, {"session"});
}

// By the run's lineage, and by its path where a program before 0.1.0 left something.
TEST_F(LaunchCommandTest, CleansWhatIsLeftOfARun) {
  const std::string by_path =
      join_path(kSharedMemory, memory_prefixes(run_dir()).front() + "g1-r0-own-0@a.json");
  std::ofstream(by_path) << "left";
  expect(run({"clean", run_dir()}), 0, {"removed 1 files", "lineage", "leasehold-*"});
  EXPECT_FALSE(std::filesystem::exists(by_path));
  const std::string lineage = "of " + directory_.path();
  const std::string ours = join_path(kSharedMemory, lineage_prefix(lineage) + "g1-r0-own-0@a.json");
  const std::string other =
      join_path(kSharedMemory, lineage_prefix(lineage + "x") + "g1-r0-own-0@a.json");
  for (const std::string& path : {ours, other}) std::ofstream(path) << "left";
  std::filesystem::create_directories(run_dir());
  std::ofstream(run_dir() + "/lineage") << lineage << "\n";
  expect(run({"clean", run_dir()}), 0, {"removed 1 files"});
  EXPECT_FALSE(std::filesystem::exists(ours));
  EXPECT_TRUE(std::filesystem::remove(other));
  std::filesystem::remove_all(run_dir());
  expect(run({"status", run_dir()}), 66, {run_dir()});
  expect(run({"drain", run_dir()}), 69, {"never launched"});
}

}  // namespace
}  // namespace leasehold
