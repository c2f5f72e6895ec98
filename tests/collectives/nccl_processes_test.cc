// Tests ranks under mpirun that die or freeze while NCCL works, on emulated devices.
#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <regex>
#include <set>
#include <string>
#include <vector>

namespace {

struct Told {
  double after_s = 0;
  std::string message;
};

std::set<std::string> shared_memory() {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator("/dev/shm"))
    names.insert(entry.path().filename().string());
  return names;
}

// Returns what each rank printed, in order. The ranks are two processes on one node.
std::array<std::vector<Told>, 2> run_scenario(const std::string& name, double timeout_s,
                                              const std::string& injection) {
  const std::string command = fmt::format(
      "LEASEHOLD_EMULATION_NCCL='{}' timeout -k 5 60 {} {} -np 2 {} {} {} 2>/dev/null", injection,
      MPIRUN, name == "killed" ? "--enable-recovery" : "", SCENARIO_PROGRAM, name, timeout_s);
  std::array<std::vector<Told>, 2> told;
  FILE* pipe = ::popen(command.c_str(), "r");
  EXPECT_NE(pipe, nullptr);
  if (pipe == nullptr) return told;
  std::array<char, 2048> buffer;
  const std::regex pattern("rank (\\d) after ([0-9.]+) s: (.*)\n?");
  while (std::fgets(buffer.data(), buffer.size(), pipe) != nullptr) {
    std::cmatch match;
    if (std::regex_match(buffer.data(), match, pattern))
      told.at(std::stoul(match[1])).push_back({std::stod(match[2]), match[3]});
  }
  ::pclose(pipe);
  return told;
}

void expect_words(const Told& told, const std::vector<std::string>& words) {
  for (const std::string& word : words) {
    EXPECT_NE(told.message.find(word), std::string::npos)
        << "'" << word << "' in: " << told.message;
  }
}

TEST(NcclProcessesTest, AKilledRankIsSeenAtOnceAndNothingStaysBehind) {
  const std::set<std::string> before = shared_memory();
  const auto told = run_scenario("killed", 20, "kill@world:1:2");
  ASSERT_EQ(told[1].size(), 1u) << "rank 1 dies in its second operation";
  ASSERT_EQ(told[0].size(), 2u);
  EXPECT_EQ(told[0][0].message, "ok");
  expect_words(told[0][1], {"all_reduce of 16 F32", "remote process exited", "rank 1 is gone"});
  EXPECT_LT(told[0][1].after_s, 5) << "not at the deadline";
  for (const std::string& name : shared_memory()) {
    EXPECT_TRUE(before.count(name) == 1 || name.find("nccl") == std::string::npos) << name;
  }
}

TEST(NcclProcessesTest, AFrozenProcessDoesNotAnswer) {
  const auto told = run_scenario("frozen", 0.4, "");
  ASSERT_EQ(told[0].size(), 2u);
  expect_words(told[0][1], {"all_reduce of 16 F32 (operation 1 of rank 0)",
                            "did not complete in 0.4 s", "rank 1 (", "does not answer"});
  EXPECT_LT(told[0][1].after_s, 10);
}

TEST(NcclProcessesTest, ASkippedCallEndsByTheDeadline) {
  const auto told = run_scenario("skipped", 0.4, "skip@world:1:3");
  ASSERT_EQ(told[0].size(), 3u);
  expect_words(told[0][2],
               {"all_reduce of 16 F32 (operation 2 of rank 0)", "did not complete in 0.4 s"});
}

}  // namespace
