#include "launch/launchers/node_command.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace leasehold
