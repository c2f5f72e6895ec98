#include "launch/supervisor/forecaster.h"

#include <gtest/gtest.h>

#include "launch/supervisor/forecast_words.h"
#include "runtime/base/clock.h"
#include "runtime/base/files.h"
#include "tests/support/temporary_directory.h"

namespace leasehold {
namespace {

const LayoutOfWorld kQuestion = {8, {.pipeline = 2, .chunks = 3, .zero = 1}};

TEST(ForecastWords, SayALayoutInOneArgument) {
  EXPECT_EQ(forecast_argument(kQuestion), "8:2:3:1");
  EXPECT_EQ(parse_forecast_argument("8:2:3:1").value(), kQuestion);
  for (const char* text :
       {"", "8", "8:2:3", "8:2:3:1:1", "8:2:3:4", "0:1:1:1", "8:0:1:1", "8:1:0:1", "8:-1:1:1",
        "8:a:1:1", "8:2:3:1x", "8:2:3:", "99999999999999:1:1:1"}) {
    const Status status = parse_forecast_argument(text).status();
    EXPECT_EQ(status.code(), Code::kUsage) << text;
    EXPECT_NE(status.message().find("WORLD:PIPELINE:CHUNKS:ZERO"), std::string::npos);
  }
}

TEST(ForecastWords, ReadTheirLinesAmongOthers) {
  const std::string output = "a warning\n" + forecast_line(kQuestion, 123456789012) + "\n" +
                             forecast_line({1, {}}, 0) + "\nmore\n";
  const MemoryForecasts forecasts = parse_forecasts(output).value();
  EXPECT_EQ(forecasts, (MemoryForecasts{{kQuestion, 123456789012}, {{1, {}}, 0}}));
}

TEST(ForecastWords, AreStrict) {
  for (const char* line :
       {"{\"world\": 1}",
        "{\"world\": 0, \"pipeline\": 1, \"chunks\": 1, \"zero\": 1, \"bytes\": 1}",
        "{\"world\": 1, \"pipeline\": 1, \"chunks\": 1, \"zero\": 1, \"bytes\": -1}",
        "{\"world\": 1, \"pipeline\": 1, \"chunks\": 1, \"zero\": 4, \"bytes\": 1}",
        "{\"world\": 1, \"pipeline\": 1, \"chunks\": 1, \"zero\": 1, \"bytes\": 1"}) {
    EXPECT_EQ(parse_forecasts(line).status().code(), Code::kBadData) << line;
  }
}

// A shell script in the place of leasehold-train.
class ForecasterTest : public ::testing::Test {
 protected:
  Result<MemoryForecasts> ask(const std::string& script, double deadline_s = 20) {
    const std::string program = directory_ / "train";
    EXPECT_TRUE(publish_file(posix_files(), program, "#!/bin/sh\n" + script, "test").ok());
    std::filesystem::permissions(program, std::filesystem::perms::owner_all);
    const auto forecaster = make_forecaster({.train_program = program,
                                             .job_path = "/job.toml",
                                             .overrides = {"a.b=c"},
                                             .deadline_s = deadline_s});
    EXPECT_FALSE(forecaster->take());
    forecaster->ask({kQuestion});
    EXPECT_TRUE(forecaster->busy());
    forecaster->ask({{1, {}}});  // one at a time
    const Deadline patience = Deadline::after_s(20);
    while (!patience.passed()) {
      if (auto made = forecaster->take()) {
        EXPECT_FALSE(forecaster->busy());
        return *made;
      }
      system_clock().sleep_s(0.005);
    }
    return error(Code::kInternal, "never");
  }

  TemporaryDirectory directory_;
};

TEST_F(ForecasterTest, AsksTheProgramThatTrains) {
  const auto made =
      ask("test \"$*\" = '/job.toml --set a.b=c --forecast 8:2:3:1' || exit 1\n"
          "echo '{\"world\": 8, \"pipeline\": 2, \"chunks\": 3, \"zero\": 1, \"bytes\": 77}'");
  ASSERT_TRUE(made.ok()) << made.status().message();
  EXPECT_EQ(*made, (MemoryForecasts{{kQuestion, 77}}));
}

TEST_F(ForecasterTest, SaysWhyThereIsNone) {
  const auto said = [&](const std::string& script, double deadline_s = 20) {
    return ask(script, deadline_s).status().message();
  };
  EXPECT_NE(said("echo first; echo no such key >&2; exit 78").find("code 78: no such key"),
            std::string::npos);
  EXPECT_NE(said("exit 0").find("8:2:3:1 was not answered"), std::string::npos);
  EXPECT_NE(said("sleep 30", 0.1).find("did not end"), std::string::npos);
}

TEST(Forecaster, SaysThatThereIsNoProgram) {
  const auto forecaster = make_forecaster({.train_program = "/no/such", .job_path = "/job.toml"});
  forecaster->ask({kQuestion});
  EXPECT_FALSE(forecaster->busy());
  const auto made = forecaster->take();
  ASSERT_TRUE(made);
  EXPECT_EQ(made->status().code(), Code::kMissingInput);
  EXPECT_FALSE(forecaster->take());
}

}  // namespace
}  // namespace leasehold
