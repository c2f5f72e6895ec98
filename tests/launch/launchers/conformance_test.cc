// Tests that every installed launcher does what the supervisor relies on, with a shell script as
// the program. Starts a launcher three times, each well under a second on a quiet machine.
// LEASEHOLD_LAUNCHERS (paths, separated by colons) names launchers before those in PATH.
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <gtest/gtest.h>
#include <unistd.h>

#include "runtime/base/files.h"
#include "tests/launch/launchers/request.h"
#include "tests/support/process.h"
#include "tests/support/temporary_directory.h"

namespace leasehold {
namespace {

constexpr double kPatienceS = 40;
constexpr double kSoonS = 20;  // the remaining ranks would sleep twice as long

// The program of the ranks. Its first argument, in the place of the job's path, says how to end.
// (ORTE names no rank that ends before all ranks run.)
constexpr const char* kProgram = R"(#!/bin/sh
rank=${OMPI_COMM_WORLD_RANK:-$PMI_RANK}
echo "rank $rank is on $LEASEHOLD_NODE of generation $LEASEHOLD_GENERATION of $LEASEHOLD_SUPERVISOR" >&2
case $1 in
  drained) exit 75 ;;
  killed) [ "$rank" = 2 ] && sleep 0.3 && kill -KILL $$; exec sleep 40 ;;
  signalled) trap 'exit 75' USR1; echo "ready $rank" >&2; while :; do sleep 0.02; done ;;
esac
)";

std::vector<std::string> candidates() {
  std::vector<std::string> paths;
  const char* more = std::getenv("LEASEHOLD_LAUNCHERS");
  const char* path = std::getenv("PATH");
  for (std::string_view rest = more == nullptr ? "" : more; !rest.empty();) {
    const std::string_view item = rest.substr(0, rest.find(':'));
    paths.emplace_back(item);
    rest.remove_prefix(std::min(item.size() + 1, rest.size()));
  }
  paths.emplace_back(LEASEHOLD_MPIEXEC);
  for (std::string_view rest = path == nullptr ? "" : path; !rest.empty();) {
    const std::string folder(rest.substr(0, rest.find(':')));
    rest.remove_prefix(std::min(folder.size() + 1, rest.size()));
    for (const char* name : {"mpirun", "mpirun.openmpi", "mpiexec.mpich", "mpiexec.hydra"}) {
      if (::access(join_path(folder, name).c_str(), X_OK) == 0)
        paths.push_back(join_path(folder, name));
    }
  }
  return paths;
}

class LauncherConformance : public ::testing::TestWithParam<const char*> {
 protected:
  // Takes the first launcher whose name begins with the parameter; skips if there is none.
  void SetUp() override {
    for (const std::string& path : candidates()) {
      const Finished version = run_program({path, "--version"}, directory_.path(), kPatienceS);
      auto launcher = recognize_launcher(path, version.output + version.errors);
      if (!launcher.ok() || !(*launcher)->name().starts_with(GetParam())) continue;
      launcher_ = std::move(launcher).value();
      request_.mpirun = path;
      break;
    }
    if (!launcher_) GTEST_SKIP() << "there is no mpirun of " << GetParam() << " on this machine";
    request_.tool = LEASEHOLD_TOOL;
    request_.train_program = directory_ / "program";
    request_.overrides = {};
    request_.hosts = hosts_of_two({"a", "b.x.org"});
    request_.hosts[1].slots = 1;
    request_.as_root = ::geteuid() == 0;
    throw_if_error(publish_file(posix_files(), request_.train_program, kProgram, "test"));
    std::filesystem::permissions(request_.train_program, std::filesystem::perms::owner_all);
  }

  std::unique_ptr<Process> start(const std::string& how) {
    request_.job_path = how;
    const GenerationCommand command = launcher_->command(request_);
    std::vector<std::string> environment;
    for (const auto& [name, value] : command.environment) environment.push_back(name + "=" + value);
    return std::make_unique<Process>(command.arguments, directory_.path(), environment);
  }
  // Returns the exit code as the supervisor determines it.
  int code_of(const Finished& finished, const FailureReport& said) const {
    EXPECT_FALSE(finished.timed_out) << finished.errors;
    return said.exit_code.value_or(finished.exit_code);
  }
  FailureReport read(const Finished& finished) const {
    return launcher_->read_failure(finished.output + finished.errors, request_.hosts);
  }

  TemporaryDirectory directory_;
  std::unique_ptr<Launcher> launcher_;
  LaunchRequest request_ = make_request();
};

TEST_P(LauncherConformance, RanksKnowTheirNodesAndTheirCodeComesThrough) {
  const Finished finished = start("drained")->wait(kPatienceS);
  EXPECT_EQ(code_of(finished, read(finished)), 75) << finished.errors;
  for (const auto& [rank, node] :
       std::vector<std::pair<int, std::string>>{{0, "a"}, {1, "a"}, {2, "b.x.org"}}) {
    const std::string line =
        fmt::format("rank {} is on {} of generation 7 of 10.0.0.1:4711", rank, node);
    // A launcher may end the others before they print.
    const bool printed = finished.errors.find(line) != std::string::npos;
    const bool printed_other =
        finished.errors.find(fmt::format("rank {} is on", rank)) != std::string::npos;
    EXPECT_EQ(printed, printed_other) << finished.errors;
  }
  EXPECT_NE(finished.errors.find("of 10.0.0.1:4711"), std::string::npos) << finished.errors;
}

TEST_P(LauncherConformance, ARankThatIsKilledEndsAllAndIsNamed) {
  const Finished finished = start("killed")->wait(kSoonS);
  const FailureReport said = read(finished);
  EXPECT_NE(code_of(finished, said), 0) << finished.errors;
  const std::string host = said.rank ? host_of_rank(request_.hosts, *said.rank) : said.host;
  EXPECT_EQ(host, "b.x.org") << finished.errors;
  EXPECT_FALSE(said.message.empty()) << finished.errors;
}

TEST_P(LauncherConformance, ASignalReachesEveryRank) {
  const auto process = start("signalled");
  for (const int rank : {0, 1, 2}) {
    ASSERT_TRUE(process->wait_for_text(fmt::format("ready {}", rank), kPatienceS))
        << process->errors();
    EXPECT_NE(process->errors().find(
                  fmt::format("rank {} is on {} of", rank, host_of_rank(request_.hosts, rank))),
              std::string::npos)
        << process->errors();
  }
  process->signal(SIGUSR1);
  const Finished finished = process->wait(kSoonS);
  EXPECT_EQ(code_of(finished, read(finished)), 75) << finished.errors;
}

INSTANTIATE_TEST_SUITE_P(Installed, LauncherConformance,
                         ::testing::Values("Open MPI 4", "Open MPI 5", "MPICH"),
                         [](const auto& one) {
                           std::string name = one.param;
                           std::erase(name, ' ');
                           return name;
                         });

}  // namespace
}  // namespace leasehold
