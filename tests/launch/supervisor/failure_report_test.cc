#include "launch/supervisor/failure_report.h"

#include <gtest/gtest.h>

#include "tests/launch/supervisor/scene.h"

namespace leasehold {
namespace {

TEST(FailureReport, ARankThatASignalEnded) {
  const FailureReport report = read_failure(
      "step 12/50  loss 2.1\n"
      "--------------------------------------------------------------------------\n"
      "Primary job  terminated normally, but 1 process returned\n"
      "--------------------------------------------------------------------------\n"
      "mpirun noticed that process rank 3 with PID 4711 on node head exited on signal 9 (Killed).\n"
      "--------------------------------------------------------------------------\n");
  EXPECT_EQ(report.rank, 3);
  EXPECT_TRUE(report.lost.empty());
  EXPECT_NE(report.message.find("signal 9"), std::string::npos);
}

TEST(FailureReport, ARankThatEndedWithACode) {
  const FailureReport report = read_failure(
      "leasehold-train: first words\n"
      "leasehold-train: rank 1: no space left\n"
      "mpirun detected that one or more processes exited with non-zero status, thus causing\n"
      "the job to be terminated. The first process to do so was:\n"
      "\n"
      "  Process name: [[31377,1],2]\n"
      "  Exit code:    74\n");
  EXPECT_EQ(report.rank, 2);
  EXPECT_EQ(report.message, "rank 1: no space left");
}

TEST(FailureReport, HostsThatAreGone) {
  const FailureReport report = read_failure(
      "ORTE has lost communication with a remote daemon.\n"
      "\n"
      "  HNP daemon   : [[59281,0],0] on node head\n"
      "  Remote daemon: [[59281,0],2] on node node-2.example\n"
      "\n"
      "ssh: connect to host node-3 port 22: Connection refused\r\n"
      "ssh: Could not resolve hostname node-4: Name or service not known\n"
      "ssh: connect to host node-3 port 22: Connection refused\r\n");
  EXPECT_EQ(report.lost, (std::vector<std::string>{"node-2.example", "node-3", "node-4"}));
  EXPECT_FALSE(report.rank.has_value());
  EXPECT_EQ(report.message, "ORTE has lost communication with a remote daemon.");
}

TEST(FailureReport, AnythingElseSaysNothing) {
  for (const std::string text : {"", "\n", "noticed that process rank x", "Process name: [[1,1],4]",
                                 "The first process to do so was:\n Process name: [[1,1"}) {
    const FailureReport report = read_failure(text);
    EXPECT_FALSE(report.rank.has_value()) << text;
    EXPECT_TRUE(report.lost.empty());
  }
  EXPECT_LE(read_failure("leasehold-train: " + std::string(100000, 'x')).message.size(), 1000U);
}

TEST(FailureReport, RanksAreDealtInTheOrderOfTheHosts) {
  const auto hosts = planned_hosts({"a", "b"});
  EXPECT_EQ(host_of_rank(hosts, 0), "a");
  EXPECT_EQ(host_of_rank(hosts, 1), "a");
  EXPECT_EQ(host_of_rank(hosts, 2), "b");
  EXPECT_EQ(host_of_rank(hosts, 4), "");
  EXPECT_EQ(host_of_rank(hosts, -1), "");
}

}  // namespace
}  // namespace leasehold
