// Tests that the messages of failed launchers are read, as the launchers printed them.
#include "launch/launchers/failure_report.h"

#include <gtest/gtest.h>

#include "runtime/base/rank_list.h"
#include "tests/launch/launchers/request.h"

namespace leasehold {
namespace {

const std::vector<PlannedHost> kHosts =
    hosts_of_two({"head", "node-2.example", "node-3", "node-4"});

FailureReport orte(std::string_view output) {
  return create_open_mpi_4("4.1.4")->read_failure(output, kHosts);
}
FailureReport prrte(std::string_view output) {
  return create_open_mpi_5("5.0.7")->read_failure(output, kHosts);
}
FailureReport hydra(std::string_view output) {
  return create_mpich("4.0.2")->read_failure(output, kHosts);
}

// --- Under every launcher ---

TEST(FailureReport, TheProgramsOwnWordsComeFirst) {
  for (const auto& read : {orte, prrte, hydra}) {
    EXPECT_EQ(
        read("leasehold-train: first words\nleasehold-train: rank 1: no space left\n").message,
        "rank 1: no space left");
    EXPECT_LE(read("leasehold-train: " + std::string(100000, 'x')).message.size(), 1000U);
  }
}

TEST(FailureReport, TheProgramSaysItsCode) {
  for (const auto& read : {orte, prrte, hydra}) {
    EXPECT_EQ(read("leasehold-train ends with exit code 75\n").own_code, 75);
    for (const char* code : {"0", "-1", "256", "x", ""}) {
      EXPECT_FALSE(read(fmt::format("leasehold-train ends with exit code {}", code)).own_code);
    }
  }
}

TEST(FailureReport, TheProgramSaysWhoseFaultItIs) {
  for (const auto& read : {orte, prrte, hydra}) {
    const FailureReport report = read(
        "leasehold-train: rank 2: /data/tokens.bin: No such file or directory\n"
        "leasehold-train ends with exit code 66, the fault of ranks 2-3,5\n");
    EXPECT_EQ(report.own_code, 66);
    EXPECT_EQ(report.faulty_ranks, (std::vector<int>{2, 3, 5}));
    EXPECT_EQ(report.message, "rank 2: /data/tokens.bin: No such file or directory");
    // Ranks that only lost a peer may speak before and after.
    const FailureReport first = read(
        "leasehold-train: rank 1 is gone\nleasehold-train ends with exit code 69\n"
        "leasehold-train: the GPU's memory failed\n"
        "leasehold-train ends with exit code 71, the fault of ranks 1\n"
        "leasehold-train: rank 1 is gone\nleasehold-train ends with exit code 69\n");
    EXPECT_EQ(first.own_code, 71);
    EXPECT_EQ(first.faulty_ranks, std::vector<int>{1});
    EXPECT_EQ(first.message, "the GPU's memory failed");
    // Whom ranks miss counts less than what another says of itself, before it and after.
    const std::string misses = "leasehold-train ends with exit code 69, the fault of ranks 1\n";
    const std::string broken = "leasehold-train ends with exit code 71, the fault of ranks 2\n";
    const std::string all = "leasehold-train ends with exit code 78\n";
    EXPECT_EQ(read(misses).faulty_ranks, std::vector<int>{1});
    for (const std::string& text : {misses + broken, broken + misses}) {
      EXPECT_EQ(read(text).own_code, 71);
      EXPECT_EQ(read(text).faulty_ranks, std::vector<int>{2});
    }
    for (const std::string& text : {misses + all, all + misses}) {
      EXPECT_EQ(read(text).own_code, 78);
      EXPECT_TRUE(read(text).faulty_ranks.empty());
    }
    for (const char* ranks : {"", "x", "3-2", "2,2", "-1", "1-9999999", "3,x"}) {
      const auto text =
          fmt::format("leasehold-train ends with exit code 66, the fault of ranks {}\n", ranks);
      EXPECT_TRUE(read(text).faulty_ranks.empty()) << ranks;
      EXPECT_EQ(read(text).own_code, 66);
    }
  }
}

TEST(FailureReport, LastWordsComeBackAsTheyWere) {
  for (const std::vector<int>& ranks :
       {std::vector<int>{}, {0}, {0, 1}, {0, 1, 2, 5, 7, 8}, {3, 1000000}}) {
    const auto words = parse_last_words(last_words(78, ranks));
    ASSERT_TRUE(words.has_value());
    EXPECT_EQ(words->exit_code, 78);
    EXPECT_EQ(words->ranks, ranks);
  }
  for (const auto& [message, ranks] : std::vector<std::pair<std::string, std::vector<int>>>{
           {"rank 2: no", {2}},
           {"saving: ranks 0-1,7: rank 3: no", {0, 1, 7}},
           {"rank 2 (node-b): no", {2}},
           {"rank 2 (node-b", {}},
           {"rank 2 lags", {}},
           {"my rank 2: no", {}},
           {"ranks 3-1: no", {}},
           {"no", {}}}) {
    EXPECT_EQ(ranks_named(message), ranks) << message;
  }
  EXPECT_EQ(ranks_named(rank_prefix({1, 2, 9}) + "no"), (std::vector<int>{1, 2, 9}));
  EXPECT_EQ(last_words(66, {0, 1, 2, 5, 7, 8}),
            "leasehold-train ends with exit code 66, the fault of ranks 0-2,5,7-8");
}

TEST(FailureReport, SshsOwnWordsAreKept) {
  for (const auto& read : {orte, prrte, hydra}) {
    const FailureReport report = read("root@node-3: Permission denied (publickey,password).\r\n");
    EXPECT_EQ(report.lost, std::vector<std::string>{"node-3"});
    EXPECT_NE(report.message.find("Permission denied (publickey"), std::string::npos);
    EXPECT_NE(
        read("ssh: connect to host node-4 port 22: No route to host\n").message.find("No route"),
        std::string::npos);
  }
}

TEST(FailureReport, WhatSshCouldNotReachIsLost) {
  for (const auto& read : {orte, prrte, hydra}) {
    const FailureReport report = read(
        "ssh: connect to host node-3 port 22: Connection refused\r\n"
        "ssh: Could not resolve hostname node-4: Name or service not known\n"
        "ssh: connect to host node-3 port 22: Connection refused\r\n");
    EXPECT_EQ(report.lost, (std::vector<std::string>{"node-3", "node-4"}));
  }
}

TEST(FailureReport, AnythingElseSaysNothing) {
  for (const auto& read : {orte, prrte, hydra}) {
    for (const std::string text :
         {"", "\n", "noticed that process rank x", "Process name: [[1,1],4]",
          "The first process to do so was:\n Process name: [[1,1", "Abort(", "Abort(7) on node x",
          "=   PID 7 RUNNING AT", "] Exit codes: ", "] Exit codes: [x", "] Exit codes: [a] ,,x",
          "Remote daemon:"}) {
      const FailureReport report = read(text);
      EXPECT_FALSE(report.rank.has_value()) << text;
      EXPECT_FALSE(report.exit_code.has_value()) << text;
      EXPECT_TRUE(report.lost.empty());
    }
  }
}

TEST(FailureReport, HostsAreKnownWithAndWithoutTheirDomain) {
  const auto hosts = hosts_of_two({"a.x.org", "b", "c.x.org", "c.y.org", "10.0.0.1"});
  const FailureReader reader("", hosts, {});
  EXPECT_EQ(reader.calendar_name("a"), "a.x.org");
  EXPECT_EQ(reader.calendar_name("b.x.org"), "b");
  EXPECT_EQ(reader.calendar_name("c"), "c") << "it may be either";
  EXPECT_EQ(reader.calendar_name("c.y.org"), "c.y.org");
  EXPECT_EQ(reader.calendar_name("a.z.org"), "a.z.org") << "another one";
  EXPECT_EQ(reader.calendar_name("10.0.0.2"), "10.0.0.2");
}

TEST(FailureReport, RanksAreDealtInTheOrderOfTheHosts) {
  const auto hosts = hosts_of_two({"a", "b"});
  EXPECT_EQ(host_of_rank(hosts, 0), "a");
  EXPECT_EQ(host_of_rank(hosts, 1), "a");
  EXPECT_EQ(host_of_rank(hosts, 2), "b");
  EXPECT_EQ(host_of_rank(hosts, 4), "");
  EXPECT_EQ(host_of_rank(hosts, -1), "");
}

// --- Open MPI 4 ---

TEST(FailureReport, OrteOnARankThatASignalEnded) {
  const FailureReport report = orte(
      "step 12/50  loss 2.1\n"
      "--------------------------------------------------------------------------\n"
      "Primary job  terminated normally, but 1 process returned\n"
      "--------------------------------------------------------------------------\n"
      "mpirun noticed that process rank 3 with PID 4711 on node head exited on signal 9 (Killed).\n"
      "--------------------------------------------------------------------------\n");
  EXPECT_EQ(report.rank, 3);
  EXPECT_TRUE(report.lost.empty());
  EXPECT_FALSE(report.exit_code.has_value());
  EXPECT_NE(report.message.find("signal 9"), std::string::npos);
}

TEST(FailureReport, OrteOnARankThatEndedWithACode) {
  const FailureReport report = orte(
      "leasehold-train: rank 1: no space left\n"
      "mpirun detected that one or more processes exited with non-zero status, thus causing\n"
      "the job to be terminated. The first process to do so was:\n"
      "\n"
      "  Process name: [[31377,1],2]\n"
      "  Exit code:    74\n");
  EXPECT_EQ(report.rank, 2);
  EXPECT_EQ(report.message, "rank 1: no space left");
}

TEST(FailureReport, OrteOnAHostThatIsGone) {
  const FailureReport report = orte(
      "ORTE has lost communication with a remote daemon.\n"
      "\n"
      "  HNP daemon   : [[59281,0],0] on node head\n"
      "  Remote daemon: [[59281,0],2] on node node-2.example\n");
  EXPECT_EQ(report.lost, (std::vector<std::string>{"node-2.example"}));
  EXPECT_FALSE(report.rank.has_value());
  EXPECT_EQ(report.message, "ORTE has lost communication with a remote daemon.");
}

TEST(FailureReport, OrteOnAHostWithoutTheProgram) {
  const FailureReport report = orte(
      "--------------------------------------------------------------------------\n"
      "mpirun was unable to find the specified executable file, and therefore\n"
      "did not launch the job.  This error was first reported for process\n"
      "rank 4; it may have occurred for other processes as well.\n"
      "\n"
      "NOTE: A common cause for this error is misspelling a mpirun command\n"
      "      line parameter option (remember that mpirun interprets the first\n"
      "      unrecognized command line token as the executable).\n"
      "\n"
      "Node:       node-3\n"
      "Executable: /opt/leasehold-train\n"
      "--------------------------------------------------------------------------\n");
  EXPECT_TRUE(report.no_program);
  EXPECT_EQ(report.rank, 4);
  EXPECT_EQ(report.host, "node-3");
  EXPECT_EQ(report.message, "/opt/leasehold-train is not there, or cannot be started");
  const FailureReport denied = orte(
      "mpirun was unable to launch the specified application as it could not access\n"
      "or execute an executable:\n"
      "\n"
      "Executable: /opt/leasehold-train\n"
      "Node: node-2\n"
      "\n"
      "while attempting to start process rank 2.\n");
  EXPECT_TRUE(denied.no_program);
  EXPECT_EQ(denied.rank, 2);
  EXPECT_EQ(denied.host, "node-2.example");
}

// --- Open MPI 5 ---

TEST(FailureReport, PrrteOnARankThatASignalEnded) {
  const FailureReport report = prrte(
      "--------------------------------------------------------------------------\n"
      "prterun noticed that process rank 2 with PID 19867 on node head exited on\n"
      "signal 9 (Killed).\n"
      "--------------------------------------------------------------------------\n");
  EXPECT_EQ(report.rank, 2);
  EXPECT_FALSE(report.exit_code.has_value());
  EXPECT_NE(report.message.find("exited on signal 9 (Killed)."), std::string::npos)
      << report.message;
}

TEST(FailureReport, PrrteOnARankThatEndedWithACode) {
  const FailureReport report = prrte(
      "prterun detected that one or more processes exited with non-zero status,\n"
      "thus causing the job to be terminated. The first process to do so was:\n"
      "\n"
      "   Process name: [prterun-head-20013@1,12]\n"
      "   Exit code:    74\n");
  EXPECT_EQ(report.rank, 12);
}

// mpirun itself ends with 0 here.
TEST(FailureReport, PrrteOnAHostThatIsGone) {
  const FailureReport report = prrte(
      "--------------------------------------------------------------------------\n"
      "PRTE has lost communication with a remote daemon.\n"
      "\n"
      "  HNP daemon   : [prterun-vm-30755@0,0] on node vm\n"
      "  Remote daemon: [prterun-vm-30755@0,2] on node node-2\n"
      "\n"
      "This is usually due to either a failure of the TCP network\n"
      "connection to the node, or possibly an internal failure of\n"
      "the daemon itself. We cannot recover from this failure, and\n"
      "therefore will terminate the job.\n"
      "--------------------------------------------------------------------------\n");
  EXPECT_EQ(report.lost, (std::vector<std::string>{"node-2.example"}));
  EXPECT_EQ(report.exit_code, 69);
  EXPECT_FALSE(report.rank.has_value());
}

// --- MPICH ---

TEST(FailureReport, HydraOnARankThatASignalEnded) {
  const FailureReport report = hydra(
      "\n"
      "===================================================================================\n"
      "=   BAD TERMINATION OF ONE OF YOUR APPLICATION PROCESSES\n"
      "=   PID 18194 RUNNING AT node-3\n"
      "=   EXIT CODE: 9\n"
      "=   CLEANING UP REMAINING PROCESSES\n"
      "=   YOU CAN IGNORE THE BELOW CLEANUP MESSAGES\n"
      "===================================================================================\n"
      "[proxy:0:0@vm] HYD_pmcd_pmip_control_cmd_cb (pm/pmiserv/pmip_cb.c:899): assert (!closed) "
      "failed\n"
      "[mpiexec@vm] HYDT_bscu_wait_for_completion (tools/bootstrap/utils/bscu_wait.c:73): one of "
      "the processes terminated badly; aborting\n");
  EXPECT_EQ(report.host, "node-3");
  EXPECT_FALSE(report.lost_unnamed);
  EXPECT_EQ(report.message, "a rank on node-3 ended badly");
}

TEST(FailureReport, HydraOnOneHostNamesTheSignal) {
  const FailureReport report = hydra(
      "=   PID 21838 RUNNING AT head\n"
      "=   EXIT CODE: 9\n"
      "[mpiexec@head] Exit codes: [head] 9,0,9,9\n"
      "YOUR APPLICATION TERMINATED WITH THE EXIT STRING: Killed (signal 9)\n"
      "This typically refers to a problem with your application.\n");
  EXPECT_EQ(report.message, "a rank on head ended badly: Killed (signal 9)");
  EXPECT_EQ(report.exit_code, 137);
}

TEST(FailureReport, HydraOnARankThatGaveUp) {
  const FailureReport report = hydra(
      "Abort(74) on node 2 (rank 2 in comm 0): application called MPI_Abort(MPI_COMM_WORLD, 74) - "
      "process 2\n"
      "Abort(69) on node 3 (rank 3 in comm 0): application called MPI_Abort(MPI_COMM_WORLD, 69) - "
      "process 3\n");
  EXPECT_EQ(report.rank, 2);
  EXPECT_EQ(report.exit_code, 74);
  const FailureReport internal = hydra("Abort(942818575) on node 1: Fatal error in MPI_Init\n");
  EXPECT_EQ(internal.rank, 1);
  EXPECT_FALSE(internal.exit_code.has_value());
  EXPECT_NE(internal.message.find("Fatal error in MPI_Init"), std::string::npos);
}

// Hydra's own exit code is all of the ranks' codes, or-ed.
TEST(FailureReport, HydrasExitCodesAreToldApart) {
  const auto code = [](const std::string& codes) {
    return hydra("[mpiexec@head] Exit codes: " + codes + "\nand so on\n").exit_code;
  };
  EXPECT_EQ(code("[head] 19200,0\n[node-3] 19200,19200"), 75);
  EXPECT_EQ(code("[head] 17664,0\n[node-3] 18944,0"), 74);       // 69 and 74
  const auto failed = code("[head] 16640,0\n[node-3] 18944,0");  // 65 and 74, or-ed 75
  EXPECT_TRUE(failed == 65 || failed == 74);
  EXPECT_EQ(code("[head] 9,9\n[node-3] 0,18944"), 74);
  EXPECT_EQ(code("[head] 17664,17664\n[node-3] 9,0"), 137);
  EXPECT_EQ(code("[head] 0,0\n[node-3] 0"), std::nullopt);
}

TEST(FailureReport, HydraOnAHostThatIsGone) {
  const FailureReport report = hydra(
      "[mpiexec@vm] control_cb (pm/pmiserv/pmiserv_cb.c:206): assert (!closed) failed\n"
      "[mpiexec@vm] HYDT_dmxu_poll_wait_for_event (tools/demux/demux_poll.c:76): callback returned "
      "error status\n");
  EXPECT_TRUE(report.lost_unnamed);
  EXPECT_TRUE(report.lost.empty());
  EXPECT_NE(report.message.find("lost a host"), std::string::npos);
}

}  // namespace
}  // namespace leasehold
