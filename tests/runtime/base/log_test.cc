#include "runtime/base/log.h"

#include <gtest/gtest.h>
#include <vector>

namespace leasehold {
namespace {

struct Line {
  LogLevel level;
  std::string message;
  bool operator==(const Line&) const = default;
};

TEST(Logger, PassesFormattedMessagesToItsSink) {
  std::vector<Line> lines;
  const Logger logger = Logger::to_sink([&](LogLevel level, const std::string& message) {
    lines.push_back({level, message});
  });
  logger.debug("step {}", 1);
  logger.info("loss {:.2f}", 0.125);
  logger.warning("{}", "slow");
  logger.error("braces {{}} and {}", "{}");
  const std::vector<Line> expected = {{LogLevel::kDebug, "step 1"},
                                      {LogLevel::kInfo, "loss 0.12"},
                                      {LogLevel::kWarning, "slow"},
                                      {LogLevel::kError, "braces {} and {}"}};
  EXPECT_EQ(lines, expected);
}

TEST(Logger, DropsWhatIsBelowItsLevel) {
  std::vector<Line> lines;
  const Logger logger = Logger::to_sink(
      [&](LogLevel level, const std::string& message) {
        lines.push_back({level, message});
      },
      LogLevel::kWarning);
  logger.debug("a");
  logger.info("b");
  logger.warning("c");
  logger.error("d");
  EXPECT_EQ(lines, (std::vector<Line>{{LogLevel::kWarning, "c"}, {LogLevel::kError, "d"}}));
}

TEST(Logger, WritesToStderrAndNeverToStdout) {
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  Logger::to_stderr("rank 3").warning("100% of {}", "{it}");
  Logger::to_stderr("").info("no prefix");
  Logger::to_stderr("rank 3").debug("hidden by default");
  const std::string err = testing::internal::GetCapturedStderr();
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "");
  EXPECT_NE(err.find(" [rank 3] warning: 100% of {it}\n"), std::string::npos) << err;
  EXPECT_NE(err.find(" info: no prefix\n"), std::string::npos) << err;
  EXPECT_EQ(err.find("hidden"), std::string::npos) << err;
}

TEST(Logger, SilentSaysNothing) {
  testing::internal::CaptureStderr();
  Logger::silent().error("lost");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

}  // namespace
}  // namespace leasehold
