#include "runtime/base/clock.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace leasehold {
namespace {

TEST(Clock, FormatsUtc) {
  EXPECT_EQ(format_utc(0), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(format_utc(1795298037.123), "2026-11-21T21:53:57.123Z");
  EXPECT_EQ(format_utc(951782399.9996), "2000-02-29T00:00:00.000Z");
  EXPECT_EQ(format_utc(951782400), "2000-02-29T00:00:00.000Z");
  for (int millis = 0; millis < 1000; ++millis) {
    EXPECT_EQ(format_utc(1795298037 + millis / 1000.0),
              fmt::format("2026-11-21T21:53:57.{:03d}Z", millis));
  }
  EXPECT_EQ(format_utc(-0.5), "1969-12-31T23:59:59.500Z");
}

TEST(Clock, SystemClockMovesForwardAndSleeps) {
  Clock& clock = system_clock();
  const double before = clock.steady_s();
  clock.sleep_s(0.01);
  EXPECT_GE(clock.steady_s() - before, 0.01);
  EXPECT_GT(clock.unix_s(), 1.7e9);  // later than 2023
}

TEST(Clock, ManualClockMovesOnlyByHand) {
  ManualClock clock(1000);
  EXPECT_EQ(clock.unix_s(), 1000);
  const double start = clock.steady_s();
  clock.sleep_s(2.5);
  EXPECT_EQ(clock.unix_s(), 1002.5);
  EXPECT_EQ(clock.steady_s() - start, 2.5);
}

TEST(Deadline, PassesWhenItsTimeIsUp) {
  EXPECT_TRUE(Deadline::after_s(0).passed());
  EXPECT_TRUE(Deadline::after_s(-5).passed());
  EXPECT_EQ(Deadline::after_s(-5).remaining_s(), 0);
  const Deadline soon = Deadline::after_s(0.02);
  EXPECT_FALSE(soon.passed());
  EXPECT_GT(soon.remaining_s(), 0);
  system_clock().sleep_s(0.025);
  EXPECT_TRUE(soon.passed());
}

TEST(Deadline, AnEternityDoesNotOverflow) {
  const Deadline deadline = Deadline::after_s(1e300);
  EXPECT_FALSE(deadline.passed());
  EXPECT_GT(deadline.remaining_s(), 1e9);
}

}  // namespace
}  // namespace leasehold
