// Tests the errors that ranks under mpirun get. Each test runs one scenario of mpi_scenario and
// reads what the ranks printed.
#include <array>
#include <cstdio>
#include <cstdlib>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <regex>
#include <string>
#include <sys/wait.h>
#include <vector>

namespace {

struct Line {
  int rank = 0;
  double after_s = 0;
  std::string message;
};

// Runs on two virtual nodes: "alpha" with rank 0, and "beta" with the others.
std::vector<Line> run_scenario(const std::string& name, int num_ranks) {
  const std::string command =
      fmt::format("timeout -k 5 60 {} -np {} {} node alpha:1,beta:{} -- {} {} 2>/dev/null", MPIRUN,
                  num_ranks, LEASEHOLD_TOOL, num_ranks - 1, SCENARIO_PROGRAM, name);
  FILE* pipe = ::popen(command.c_str(), "r");
  EXPECT_NE(pipe, nullptr);
  if (pipe == nullptr) return {};
  std::vector<Line> lines;
  std::array<char, 2048> buffer;
  const std::regex pattern("rank (\\d+) after ([0-9.]+) s: (.*)\n?");
  while (std::fgets(buffer.data(), buffer.size(), pipe) != nullptr) {
    std::cmatch match;
    if (std::regex_match(buffer.data(), match, pattern)) {
      lines.push_back({std::stoi(match[1]), std::stod(match[2]), match[3]});
    }
  }
  ::pclose(pipe);
  return lines;
}

std::vector<Line> of_rank(const std::vector<Line>& lines, int rank) {
  std::vector<Line> own;
  for (const Line& line : lines) {
    if (line.rank == rank) own.push_back(line);
  }
  return own;
}

void expect_mentions(const Line& line, const std::vector<std::string>& words) {
  for (const std::string& word : words) {
    EXPECT_NE(line.message.find(word), std::string::npos)
        << "'" << word << "' in: " << line.message;
  }
}

TEST(MpiFailuresTest, ALaggardIsNamedWithNodeAndNewestOperation) {
  const auto lines = run_scenario("laggard", 3);
  const auto first = of_rank(lines, 0);
  ASSERT_GE(first.size(), 4u);
  EXPECT_EQ(first[0].message, "ok");
  // The first rank to notice names rank 1; the other may hear the news from it.
  expect_mentions(first[1], {"all_reduce of 4 F32", "rank 1 (node beta on host ", "lags",
                             "broadcast of 3 F32"});
  EXPECT_EQ(first[2].message, first[1].message) << "later operations fail at once, in the same way";
  EXPECT_LT(first[2].after_s, first[1].after_s + 0.1);
  EXPECT_LT(first[1].after_s, 1.45) << "before the laggard came";
  expect_mentions(first[3], {"not finalized", "rank 1"});
}

TEST(MpiFailuresTest, AFrozenProcessDoesNotAnswer) {
  const auto lines = run_scenario("frozen", 2);
  const auto first = of_rank(lines, 0);
  ASSERT_GE(first.size(), 2u);
  expect_mentions(first[1], {"all_reduce of 4 F32", "did not complete in 0.4 s",
                             "rank 1 (node beta on host ", "does not answer"});
  EXPECT_LT(first[1].after_s, 5);
}

TEST(MpiFailuresTest, RanksThatIssueDifferentOperationsAreToldSo) {
  const auto lines = run_scenario("other_operation", 2);
  bool named = false;
  for (const Line& line : lines) {
    named |=
        line.message.find("issued broadcast of 3 F32 from rank 0 instead") != std::string::npos ||
        line.message.find("issued all_reduce of 100000 F32 instead") != std::string::npos;
  }
  EXPECT_TRUE(named) << (lines.empty() ? "no line" : lines[0].message);
}

TEST(MpiFailuresTest, RanksThatDisagreeOnASizeAreToldSo) {
  const auto lines = run_scenario("other_size", 2);
  bool named = false;
  for (const Line& line : lines) {
    named |= line.message.find("issued all_reduce of 5 F32 instead") != std::string::npos ||
             line.message.find("issued all_reduce of 4 F32 instead") != std::string::npos;
  }
  EXPECT_TRUE(named) << (lines.empty() ? "no line" : lines[0].message);
}

TEST(MpiFailuresTest, ARankThatGivesUpIsHeardAtOnce) {
  const auto lines = of_rank(run_scenario("gives_up", 2), 0);
  ASSERT_GE(lines.size(), 1u);
  expect_mentions(lines[0], {"rank 1 (node beta on host ", "gave up: the disk is full"});
  EXPECT_LT(lines[0].after_s, 0.5) << "not at the deadline";
}

TEST(MpiFailuresTest, AMessageThatNobodyTakesEndsInAnErrorAndHarmsNothing) {
  const auto lines = of_rank(run_scenario("never_received", 2), 0);
  ASSERT_GE(lines.size(), 3u);
  expect_mentions(lines[0], {"send of 4194304 F32 to rank 1", "did not complete",
                             "rank 1 (node beta on host "});
  EXPECT_EQ(lines[1].message, lines[0].message);
  expect_mentions(lines[2], {"not finalized"});
}

TEST(MpiFailuresTest, AReceiveThatNobodySendsNamesThePeer) {
  const auto lines = of_rank(run_scenario("receive_without_sender", 2), 0);
  ASSERT_GE(lines.size(), 2u);
  expect_mentions(
      lines[1], {"receive of 6 F32 from rank 1", "rank 1", "broadcast of 3 F32 from rank 0, done"});
}

TEST(MpiBootstrapTest, RanksKnowTheirPlacesOnTheirNodes) {
  const auto lines = run_scenario("bootstrap", 3);
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(of_rank(lines, 0).at(0).message, "0 on alpha: 0 of 1, world of 3");
  EXPECT_EQ(of_rank(lines, 1).at(0).message, "1 on beta: 0 of 2, world of 3");
  EXPECT_EQ(of_rank(lines, 2).at(0).message, "2 on beta: 1 of 2, world of 3");
}

// A launcher of another MPI announces several ranks, which this MPI does not notice.
TEST(MpiBootstrapTest, OneOfSeveralRanksOfAnotherMpiIsRefused) {
  const std::string command = fmt::format(
      "timeout -k 5 60 {} -np 1 env OMPI_COMM_WORLD_SIZE=2 PMI_SIZE=2 {} bootstrap >/dev/null 2>&1",
      MPIRUN, SCENARIO_PROGRAM);
  const int status = std::system(command.c_str());
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 78);
}

}  // namespace
