#include "launch/supervisor/control_protocol.h"

#include <gtest/gtest.h>

namespace leasehold {
namespace {

Report some_report() {
  return {.generation = 3,
          .node = "node-a.site_1",
          .rank = 4,
          .pid = 4711,
          .number = 17,
          .step = 120,
          .phase = "training",
          .committed_step = 119,
          .durable_step = 100,
          .step_time_s = 0.1,
          .save_time_s = 2.5,
          .communication_s = 0.0123,
          .exposed_s = 0.001,
          .work_done = 12};
}

// some_report() with one member's text replaced.
std::string with(const std::string& member, const std::string& value) {
  std::string text = to_json(some_report());
  const size_t name = text.find('"' + member + "\":");
  const size_t begin = text.find(':', name) + 1;
  return text.replace(begin, text.find_first_of(",}", begin) - begin, value);
}

TEST(ControlProtocol, ReportsSurviveTheTrip) {
  Report report = some_report();
  EXPECT_EQ(*parse_report(to_json(report)), report);
  report.committed_step = report.durable_step = -1;
  report.step_time_s = 0;
  report.generation = report.step = kMaxReportedCount;
  report.step_time_s = kMaxReportedS;
  for (const std::string_view phase : kPhases) {
    report.phase = phase;
    EXPECT_EQ(*parse_report(to_json(report)), report);
  }
}

TEST(ControlProtocol, AgentsOfAnOlderProgramCountNoWork) {
  std::string text = to_json(some_report());
  const std::string member = ",\"work_done\":12";
  text.erase(text.find(member), member.size());
  Report expected = some_report();
  expected.work_done = 0;
  EXPECT_EQ(*parse_report(text), expected);
}

TEST(ControlProtocol, AnswersSurviveTheTrip) {
  for (const Answer& answer : {Answer{}, Answer{true, "the lease \"a\" ends\nsoon"}}) {
    EXPECT_EQ(*parse_answer(to_json(answer)), answer);
  }
  EXPECT_EQ(parse_answer(to_json(Answer{true, "\xff"}))->reason, "\xef\xbf\xbd");
}

TEST(ControlProtocol, BadMembersOfReportsAreNamed) {
  const std::pair<const char*, const char*> bad[] = {
      {"generation", "-1"},
      {"generation", "1.5"},
      {"generation", "\"1\""},
      {"generation", "9223372036854775808"},
      {"node", "\"\""},
      {"node", "\"-a\""},
      {"node", "\"a b\""},
      {"node", "\"a/b\""},
      {"node", "\"a\\u0000\""},
      {"node", "\"\\u00e9\""},
      {"node", "7"},
      {"rank", "-1"},
      {"pid", "0"},
      {"number", "-1"},
      // Beyond what the supervisor's state can hold.
      {"generation", "1099511627777"},
      {"rank", "1099511627777"},
      {"number", "1099511627777"},
      {"step", "1099511627777"},
      {"step", "9223372036854775807"},
      {"committed_step", "1099511627777"},
      {"durable_step", "1099511627777"},
      {"step_time_s", "1.1e12"},
      {"save_time_s", "1e300"},
      {"communication_s", "1e300"},
      {"exposed_s", "1e300"},
      {"step", "-1"},
      {"phase", "\"dreaming\""},
      {"phase", "\"\""},
      {"phase", "null"},
      {"committed_step", "-2"},
      {"durable_step", "-2"},
      {"step_time_s", "-0.5"},
      {"step_time_s", "\"nan\""},
      {"step_time_s", "null"},
      {"save_time_s", "true"},
      {"communication_s", "-1e-9"},
      {"exposed_s", "null"},
      {"work_done", "-1"},
      {"work_done", "0.5"},
  };
  for (const auto& [member, value] : bad) {
    const Result<Report> report = parse_report(with(member, value));
    ASSERT_FALSE(report.ok()) << member << " " << value;
    EXPECT_EQ(report.status().code(), Code::kBadData);
    EXPECT_NE(report.status().message().find(member), std::string::npos)
        << report.status().message();
  }
}

TEST(ControlProtocol, OtherTextsAreRefused) {
  const std::string good = to_json(some_report());
  ASSERT_TRUE(parse_report(good).ok());
  std::string longest_name = with("node", '"' + std::string(253, 'a') + '"');
  EXPECT_TRUE(parse_report(longest_name).ok());
  const std::string bad[] = {
      "",
      "null",
      "[]",
      "{}",
      good.substr(0, good.size() - 1),
      good + good,
      good.substr(0, good.size() - 1) + ",\"more\":1}",
      good.substr(0, good.size() - 1) + ",\"step\":1}",
      with("node", "{\"a\":1}"),
      with("node", '"' + std::string(254, 'a') + '"'),
      with("step_time_s", "1e999"),
      with("node", "\"\xff\""),
      good + std::string(kMaxReportBytes, ' '),
  };
  for (const std::string& text : bad) {
    const Result<Report> report = parse_report(text);
    EXPECT_TRUE(!report.ok() && report.status().code() == Code::kBadData) << text;
  }
  for (const char* text : {"", "{}", R"({"drain":1,"reason":""})", R"({"drain":true})",
                           R"({"drain":true,"reason":"","x":0})"}) {
    EXPECT_FALSE(parse_answer(text).ok()) << text;
  }
}

TEST(ControlProtocol, ADrainMayHaveAReason) {
  EXPECT_EQ(*parse_drain(""), "an operator asked for it");
  EXPECT_EQ(*parse_drain("{}"), "an operator asked for it");
  EXPECT_EQ(*parse_drain(drain_to_json("new code")), "new code");
  for (const char* text : {"x", "[]", R"({"reason":1})", R"({"raeson":"x"})"}) {
    EXPECT_FALSE(parse_drain(text).ok()) << text;
  }
}

TEST(ControlProtocol, ErrorsAreReadWhereTheyAre) {
  EXPECT_EQ(parse_error(error_to_json("no \"such\" thing"), "-"), "no \"such\" thing");
  for (const char* text : {"", "<html>", "[]", "{}", R"({"error":1})"}) {
    EXPECT_EQ(parse_error(text, "-"), "-") << text;
  }
}

TEST(ControlProtocol, AFenceNamesTheGeneration) {
  EXPECT_EQ(parse_fence(fence_to_json("too old", 7)), 7);
  EXPECT_EQ(parse_error(fence_to_json("too old", 7), "-"), "too old");
  for (const char* text :
       {"", "{}", R"({"error":"x"})", R"({"generation":7})", R"({"error":"x","generation":0})",
        R"({"error":"x","generation":-1})", R"({"error":"x","generation":"7"})",
        R"({"error":"x","generation":7,"more":1})",
        R"({"error":"x","generation":1099511627777})"}) {
    EXPECT_EQ(parse_fence(text), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace leasehold
