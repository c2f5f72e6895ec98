#include "launch/launchers/node_command.h"

#include <filesystem>
#include <gtest/gtest.h>

#include "launch/launchers/launcher.h"
#include "runtime/base/files.h"
#include "tests/support/process.h"
#include "tests/support/temporary_directory.h"

namespace leasehold {
namespace {

TEST(NodeCommand, RanksAreDealtInTheOrderOfTheNodes) {
  const std::string nodes = "a:2,b.x.org:1,2001:db8::1:3";
  for (const auto& [rank, node] : std::vector<std::pair<int64_t, std::string>>{
           {0, "a"}, {1, "a"}, {2, "b.x.org"}, {3, "2001:db8::1"}, {5, "2001:db8::1"}}) {
    const auto found = node_of_rank(nodes, rank);
    ASSERT_TRUE(found.ok()) << found.status().message();
    EXPECT_EQ(*found, node) << rank;
  }
}

TEST(NodeCommand, MalformedListsAreRefused) {
  for (const std::string nodes : {"", "a", "a:", ":1", "a:x", "a:-1", "a:1,,b:2", "a:1"}) {
    EXPECT_EQ(node_of_rank(nodes, 1).status().code(), Code::kUsage) << nodes;
  }
}

TEST(NodeCommand, BecomesTheCommand) {
  const TemporaryDirectory directory;
  const std::vector<std::string> command = {
      LEASEHOLD_TOOL, "node", "a:1,b:1", "--", "/bin/sh", "-c", "echo on $LEASEHOLD_NODE; exit 75"};
  const Finished second =
      run_program(command, directory.path(), 20, {"OMPI_COMM_WORLD_RANK=1", "PMI_RANK=0"});
  EXPECT_EQ(second.exit_code, 75) << second.errors;
  EXPECT_EQ(second.output, "on b\n");
  EXPECT_EQ(run_program(command, directory.path(), 20, {"PMI_RANK=0"}).output, "on a\n");
  EXPECT_EQ(run_program(command, directory.path(), 20, {"PMIX_RANK=1"}).output, "on b\n");
}

TEST(NodeCommand, SaysWhatIsMissing) {
  const TemporaryDirectory directory;
  const auto run = [&](const std::vector<std::string>& rest, const std::string& variable) {
    std::vector<std::string> command = {LEASEHOLD_TOOL, "node"};
    command.insert(command.end(), rest.begin(), rest.end());
    return run_program(command, directory.path(), 20, {variable});
  };
  const Finished alone = run({"a:1", "--", "true"}, "X=1");
  EXPECT_EQ(alone.exit_code, 64);
  EXPECT_NE(alone.errors.find("no launcher says"), std::string::npos) << alone.errors;
  EXPECT_EQ(run({"a:1", "--", "true"}, "PMI_RANK=1").exit_code, 64);
  EXPECT_EQ(run({"a:1", "--", "true"}, "PMI_RANK=x").exit_code, 64);
  EXPECT_EQ(run({"a:1", "true"}, "PMI_RANK=0").exit_code, 64);
  const Finished gone = run({"a:1", "--", directory / "gone"}, "PMI_RANK=0");
  EXPECT_EQ(gone.exit_code, 66);
  EXPECT_NE(gone.errors.find("gone: No such file"), std::string::npos) << gone.errors;
}

TEST(ProbeCommand, SaysWhichProgramAHostLacks) {
  const TemporaryDirectory directory;
  const auto make_program = [&](const std::string& name) {
    throw_if_error(publish_file(posix_files(), directory / name, "#!/bin/sh\n", "test"));
    std::filesystem::permissions(directory / name, std::filesystem::perms::owner_all);
  };
  const std::string train = directory / "the user's leasehold-train";
  const auto ask = [&](const Launcher& launcher, const LaunchSection& launch) {
    const std::string command = probe_command(launcher, launch, train);
    return run_program({"/bin/sh", "-c", command}, directory.path(), 20,
                       {"PATH=" + directory.path() + ":/usr/bin-without-them"});
  };
  const auto orte = create_open_mpi_4("4.1.4");
  Finished asked = ask(*orte, {});
  EXPECT_NE(asked.exit_code, 0);
  EXPECT_EQ(asked.output, "there is no program " + train + "\n");
  make_program("the user's leasehold-train");
  asked = ask(*orte, {});
  EXPECT_NE(asked.exit_code, 0);
  EXPECT_EQ(asked.output, "there is no orted in PATH\n");
  EXPECT_EQ(ask(*orte, {.mpirun_args = {"--prefix", "/opt/mpi"}}).exit_code, 0);
  make_program("orted");
  EXPECT_EQ(ask(*orte, {}).exit_code, 0);
  EXPECT_NE(ask(*create_open_mpi_5("5.0.7"), {}).exit_code, 0);
  make_program("prted");
  EXPECT_EQ(ask(*create_open_mpi_5("5.0.7"), {}).exit_code, 0);
  // A launcher that is called by its path finds its daemon next to itself.
  std::filesystem::create_directories(directory / "mpi");
  make_program("mpi/hydra_pmi_proxy");
  const auto hydra = create_mpich("4.0.2");
  EXPECT_NE(ask(*hydra, {}).exit_code, 0);
  EXPECT_EQ(ask(*hydra, {.mpirun = directory / "mpi/mpiexec"}).exit_code, 0);
}

}  // namespace
}  // namespace leasehold
