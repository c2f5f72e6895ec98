// Tests numbers on the command line: the parser, and every numeric option of both programs.
#include "launch/number_options.h"

#include <array>
#include <cstdio>
#include <gtest/gtest.h>
#include <regex>
#include <sys/wait.h>
#include <vector>

namespace leasehold {
namespace {

TEST(ParseNumber, TakesWholeNumbersAsTheyAreWritten) {
  EXPECT_EQ(parse_number<int64_t>("9223372036854775807"), INT64_MAX);
  EXPECT_EQ(parse_number<int64_t>("-7"), -7);
  EXPECT_EQ(parse_number<double>("1e-3"), 1e-3);
  for (const char* text : {"", " 1", "1 ", "+1", "1e3", "1.0", "0x10", "1_000", "nan", "true",
                           "1,2", "9223372036854775808", "99999999999999999999", "\xC2\xB2"}) {
    EXPECT_FALSE(parse_number<int64_t>(text)) << text;
  }
  for (const char* text : {"", "nan", "inf", "-inf", "1e999", "1,5", "0x1p3", "1.5x", "+1"})
    EXPECT_FALSE(parse_number<double>(text)) << text;
}

TEST(AddNumber, ChecksTheRangeAndSaysIt) {
  CLI::App app;
  int threads = 4;
  double fraction = 0.5;
  std::optional<int64_t> step;
  add_number(app, "--threads", threads, kThreadsRange, "");
  add_number(app, "--fraction", fraction, NumberRange<double>{0, 1, true}, "");
  add_number(app, "--step", step, kAnyCount, "");
  const auto parse = [&](std::vector<std::string> reversed) -> std::string {
    try {
      app.parse(reversed);
      return "";
    } catch (const CLI::ParseError& problem) {
      return problem.what();
    }
  };
  EXPECT_EQ(parse({"0.25", "--fraction", "1024", "--threads"}), "");
  EXPECT_EQ(threads, 1024);
  EXPECT_EQ(fraction, 0.25);
  EXPECT_FALSE(step);
  EXPECT_EQ(parse({"0", "--step"}), "");
  EXPECT_EQ(step, 0);
  EXPECT_EQ(parse({"40000", "--threads"}),
            "--threads: '40000' is not a whole number from 1 to 1024");
  EXPECT_EQ(parse({"1", "--fraction"}), "--fraction: '1' is not a number from 0 to 1, below 1");
  EXPECT_EQ(threads, 1024);
}

struct Ran {
  int exit_code = -1;
  std::string output;
};

Ran run(const std::string& command) {
  Ran ran;
  FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return ran;
  std::array<char, 4096> buffer;
  for (size_t got; (got = ::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;)
    ran.output.append(buffer.data(), got);
  const int status = ::pclose(pipe);
  if (WIFEXITED(status)) ran.exit_code = WEXITSTATUS(status);
  return ran;
}

std::vector<std::string> matches(const std::string& text, const std::string& pattern) {
  const std::regex expression(pattern);
  std::vector<std::string> found;
  for (auto at = std::sregex_iterator(text.begin(), text.end(), expression);
       at != std::sregex_iterator(); ++at) {
    found.push_back((*at)[1].str());
  }
  return found;
}

// Returns both programs with each of their commands.
std::vector<std::string> commands() {
  std::vector<std::string> all = {LEASEHOLD_TRAIN, LEASEHOLD_TRAIN " evaluate",
                                  LEASEHOLD_TRAIN " sample"};
  const std::string help = run(LEASEHOLD_TOOL " --help").output;
  for (const std::string& name :
       matches(help.substr(std::min(help.size(), help.find("Subcommands"))), "\n +([a-z-]+) ")) {
    all.push_back(LEASEHOLD_TOOL " " + name);
  }
  return all;
}

// Starts about 90 processes, each of which refuses at once. Takes two seconds.
TEST(EveryNumber, OfEveryCommandIsRefusedByNameValueAndRange) {
  size_t tried = 0;
  for (const std::string& command : commands()) {
    const std::string help = run(command + " --help").output;
    ASSERT_NE(help.find("--help"), std::string::npos) << command;
    EXPECT_EQ(matches(help, "(--[a-z-]+) (?:INT|UINT|FLOAT)\\b"), std::vector<std::string>())
        << command << ": CLI11 clamps what it reads itself; use launch/number_options.h";
    for (const char* type : {"INTEGER", "NUMBER"}) {
      for (const std::string& option : matches(help, "(--[a-z-]+) " + std::string(type))) {
        ++tried;
        std::vector<std::string> values = {"-1", "99999999999999999999", "", "nan", "7x"};
        if (type == std::string("INTEGER")) values.insert(values.end(), {"1e3", "1.5"});
        if (type == std::string("NUMBER")) values.insert(values.end(), {"inf", "1e999"});
        for (const std::string& value : values) {
          const Ran ran = run(command + " " + option + " '" + value + "'");
          EXPECT_EQ(ran.exit_code, 64) << command << " " << option << " " << value << ran.output;
          EXPECT_NE(ran.output.find(option + ": '" + value + "' is not a "), std::string::npos)
              << command << ran.output;
          EXPECT_NE(ran.output.find(" from "), std::string::npos) << ran.output;
        }
      }
    }
  }
  EXPECT_GE(tried, 11u);
}

}  // namespace
}  // namespace leasehold
