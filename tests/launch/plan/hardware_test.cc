#include "launch/plan/hardware.h"

#include <gtest/gtest.h>

namespace leasehold {
namespace {

constexpr const char* kGood = R"(name = "X1"
units = 100
[memory]
gb = 80
gb_s = 3000
[products]
bf16 = 800
[attention]
forward = 600
backward = 500
)";

std::string without(const std::string& line) {
  std::string text = kGood;
  const size_t at = text.find(line);
  return text.erase(at, text.find('\n', at) + 1 - at);
}

void expect_refused(const std::string& text, std::initializer_list<std::string> parts) {
  const auto parsed = parse_hardware(text, "x1.toml");
  ASSERT_FALSE(parsed.ok()) << text;
  EXPECT_EQ(parsed.status().code(), Code::kBadConfig);
  for (const std::string& part : parts) {
    EXPECT_NE(parsed.status().message().find(part), std::string::npos)
        << "'" << part << "' is not in: " << parsed.status().message();
  }
}

TEST(Hardware, ReadsFigures) {
  const Hardware x1 = parse_hardware(kGood, "x1.toml").value();
  EXPECT_EQ(x1.name, "X1");
  EXPECT_EQ(x1.units, 100);
  EXPECT_DOUBLE_EQ(x1.memory_bytes_s, 3e12);
  EXPECT_DOUBLE_EQ(x1.products[Precision::kBf16], 8e14);
  EXPECT_EQ(x1.products[Precision::kFp8], 0);
  EXPECT_FALSE(x1.per_thread);
}

TEST(Hardware, EveryShippedFileIsFine) {
  const auto names = shipped_hardware_names();
  EXPECT_EQ(names, (std::vector<std::string>{"A100", "B200", "B300", "CPU", "GB200", "GB300",
                                             "H100", "H100-HBM2e", "H200", "MI300X", "MI355X"}));
  for (const std::string& name : names) {
    const auto hardware = shipped_hardware(name);
    ASSERT_TRUE(hardware.ok()) << hardware.status().message();
    EXPECT_GT(hardware->memory_bytes, 0) << name;
    for (size_t i = 0; i < kNumPrecisions; ++i) {
      const auto precision = static_cast<Precision>(i);
      if (hardware->peak[precision] > 0) {
        EXPECT_LT(hardware->products[precision], hardware->peak[precision]) << name;
      }
    }
  }
  EXPECT_EQ(shipped_hardware("a100-80gb")->name, "A100-80");
}

TEST(Hardware, AnUnknownPartIsAnsweredWithTheKnownOnes) {
  const Status status = shipped_hardware("V100").status();
  EXPECT_EQ(status.code(), Code::kBadConfig);
  EXPECT_NE(status.message().find("'V100'"), std::string::npos);
  EXPECT_NE(status.message().find("GB300"), std::string::npos);
}

TEST(Hardware, RefusesWhatIsMissing) {
  expect_refused(without("units"), {"x1.toml", "units is needed"});
  expect_refused(without("gb = 80"), {"memory.gb is needed"});
  expect_refused(without("forward"), {"attention.forward is needed"});
  expect_refused(without("bf16"), {"products.fp32", "at least one"});
}

TEST(Hardware, RefusesWhatIsWrong) {
  const std::string good = kGood;
  expect_refused("a = [", {"x1.toml:1", "not TOML"});
  expect_refused("unit = 3\n" + good, {"x1.toml:1: unit", "did you mean units"});
  expect_refused(good + "[links]\ndomian = 8\n", {"links.domian", "links.domain"});
  expect_refused(good + "[links]\ndomain = 1.5\n", {"1.5 is no count"});
  expect_refused(good + "[links]\ndomain_gb_s = -1\n", {"links.domain_gb_s", "out of range"});
  expect_refused(good + "[links]\ndomain_gb_s = \"fast\"\n", {"expected a number", "fast"});
  expect_refused(good + "[links]\ndomain_gb_s = inf\n", {"out of range"});
  expect_refused("per_thread = 1\n" + good, {"expected true or false"});
  expect_refused("also = [1]\n" + good, {"expected a list of strings"});
}

}  // namespace
}  // namespace leasehold
