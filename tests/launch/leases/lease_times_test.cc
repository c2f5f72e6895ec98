#include "launch/leases/lease_times.h"

#include <gtest/gtest.h>
#include <limits>

namespace leasehold {
namespace {

TEST(LeaseTimes, ReadsAbsoluteTimes) {
  EXPECT_EQ(parse_lease_time("1970-01-01T00:00:00Z", 5), 0.0);
  EXPECT_EQ(parse_lease_time("2026-12-01T00:00:00Z", 5), 1796083200.0);
  EXPECT_EQ(parse_lease_time("2026-12-01t02:00:00+02:00", 5), 1796083200.0);
  EXPECT_EQ(parse_lease_time("2026-11-30 18:30:00-05:30", 5), 1796083200.0);
  EXPECT_EQ(parse_lease_time("2026-12-01T00:00:00.25z", 5), 1796083200.25);
  EXPECT_EQ(parse_lease_time("2024-02-29T00:00:00Z", 5), 1709164800.0);
  EXPECT_EQ(parse_lease_time("1969-12-31T23:59:59Z", 5), -1.0);
}

TEST(LeaseTimes, ReadsRelativeTimes) {
  EXPECT_EQ(parse_lease_time("+90s", 1000), 1090.0);
  EXPECT_EQ(parse_lease_time("+15m", 1000), 1900.0);
  EXPECT_EQ(parse_lease_time("+4h", 1000), 15400.0);
  EXPECT_EQ(parse_lease_time("+30d", 1000), 2593000.0);
  EXPECT_EQ(parse_lease_time("+0s", 1000), 1000.0);
}

TEST(LeaseTimes, RefusesWhatIsNoTime) {
  for (const char* text : {"",
                           "+",
                           "s",
                           "+s",
                           "90s",
                           "-90s",
                           "+-90s",
                           "+ 90s",
                           "+90",
                           "+90 s",
                           "+1.5h",
                           "+90S",
                           "+1h30m",
                           "+1w",
                           "++1h",
                           "+99999999999999999999s",
                           "+36526d",
                           "2026-12-01",
                           "2026-12-01T00:00:00",
                           "2026-12-01T00:00Z",
                           "2026-12-1T00:00:00Z",
                           "2026-13-01T00:00:00Z",
                           "2026-00-01T00:00:00Z",
                           "2026-02-29T00:00:00Z",
                           "2026-12-00T00:00:00Z",
                           "2026-12-01T24:00:00Z",
                           "2026-12-01T00:60:00Z",
                           "2026-12-01T00:00:60Z",
                           "2026-12-01T00:00:00+2:00",
                           "2026-12-01T00:00:00+02",
                           "2026-12-01T00:00:00+24:00",
                           "2026-12-01T00:00:00+00:60",
                           "2026-12-01T00:00:00Z ",
                           "2026-12-01T00:00:00.Z",
                           "2026-12-01T00:00:00.1234567890Z",
                           "2026-12-01_00:00:00Z",
                           "tomorrow"}) {
    EXPECT_EQ(parse_lease_time(text, 1000), std::nullopt) << text;
  }
}

TEST(LeaseTimes, ReadsDurations) {
  EXPECT_EQ(parse_duration_s("0s"), 0.0);
  EXPECT_EQ(parse_duration_s("48h"), 172800.0);
  EXPECT_EQ(parse_duration_s("36525d"), 36525.0 * 86400);
  for (const char* text : {"", "h", "+4h", "-4h", "4", "4x", "0x4h", "4hh", " 4h"}) {
    EXPECT_EQ(parse_duration_s(text), std::nullopt) << text;
  }
}

TEST(LeaseTimes, WritesWhatItReads) {
  for (const char* text :
       {"2026-12-01T00:00:00Z", "1970-01-01T00:00:00Z", "1969-12-31T23:59:59Z",
        "2024-02-29T12:34:56Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:01Z"}) {
    EXPECT_EQ(utc_text(*parse_lease_time(text, 0)), text);
  }
  EXPECT_EQ(utc_text(0.999), "1970-01-01T00:00:00Z");
  EXPECT_EQ(utc_text(-0.5), "1969-12-31T23:59:59Z");
  EXPECT_EQ(utc_text(std::numeric_limits<double>::infinity()), "the end of time");
  EXPECT_EQ(utc_text(-std::numeric_limits<double>::infinity()), "the beginning of time");
  EXPECT_EQ(utc_text(std::numeric_limits<double>::quiet_NaN()), "an unknown time");
}

}  // namespace
}  // namespace leasehold
