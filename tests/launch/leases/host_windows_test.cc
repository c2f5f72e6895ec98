#include "launch/leases/host_windows.h"

#include <gtest/gtest.h>

#include "tests/launch/leases/calendars.h"

namespace leasehold {
namespace {

using State = HostWindow::State;

HostWindow only(const LeaseCalendar& calendar, double now_s) {
  const auto windows = host_windows(calendar, now_s);
  EXPECT_EQ(windows.size(), 1u);
  return windows.at(0);
}

TEST(HostWindows, ALeaseHoldsFromItsBeginUntilBeforeItsEnd) {
  const LeaseCalendar calendar = {{lease("t", {"a"}, 1, 100, 200)}, {}};
  EXPECT_EQ(only(calendar, 99.9).state, State::kNotYet);
  EXPECT_EQ(only(calendar, 99.9).until_s, 100);
  EXPECT_EQ(only(calendar, 99.9).why, "its lease 't' begins");
  EXPECT_EQ(only(calendar, 100).state, State::kOpen);
  EXPECT_EQ(only(calendar, 199.9).until_s, 200);
  EXPECT_EQ(only(calendar, 199.9).why, "its lease 't' ends");
  EXPECT_EQ(only(calendar, 200).state, State::kOver);
  EXPECT_EQ(only(calendar, 200).why, "its lease 't' ended");
}

TEST(HostWindows, OwnedHostsAreAlwaysOpen) {
  const HostWindow window = only({{lease("mine", {"a"}, 1)}, {}}, 5);
  EXPECT_EQ(window.state, State::kOpen);
  EXPECT_EQ(window.until_s, kNever);
  EXPECT_EQ(window.sure_s, kNever);
}

TEST(HostWindows, HostsComeInTheOrderOfTheCalendar) {
  const LeaseCalendar calendar = {
      {lease("2", {"z", "b"}, 1, 500), lease("1", {"a", "z"}, 1, 0, 100)}, {}};
  const auto windows = host_windows(calendar, 50);
  ASSERT_EQ(windows.size(), 3u);
  EXPECT_EQ(windows[0].host, "z");
  EXPECT_EQ(windows[0].lease->id, "1");
  EXPECT_EQ(windows[1].host, "b");
  EXPECT_EQ(windows[2].host, "a");
}

TEST(HostWindows, TheNextLeaseIsAwaitedBetweenTwo) {
  const LeaseCalendar calendar = {{lease("2", {"a"}, 1, 300, 400), lease("1", {"a"}, 1, 0, 100)},
                                  {}};
  const HostWindow window = only(calendar, 100);
  EXPECT_EQ(window.state, State::kNotYet);
  EXPECT_EQ(window.until_s, 300);
  EXPECT_EQ(window.lease->id, "2");
}

TEST(HostWindows, ALeaseThatFollowsAtOnceProlongs) {
  LeaseCalendar calendar = {{lease("1", {"a"}, 2, 0, 100), lease("2", {"a"}, 2, 100, 200),
                             lease("3", {"a"}, 2, 200, 300)},
                            {}};
  const HostWindow window = only(calendar, 50);
  EXPECT_EQ(window.until_s, 300);
  EXPECT_EQ(window.lease->id, "1");
  EXPECT_EQ(window.why, "its lease '3' ends");
  calendar.leases[2].slots = 1;
  EXPECT_EQ(only(calendar, 50).until_s, 200);
  // Work that needs one slot can continue.
  EXPECT_EQ(host_windows(calendar, 50, {{"a", 1}}).front().until_s, 300);
  calendar.leases[2].slots = 8;
  EXPECT_EQ(only(calendar, 50).until_s, 300) << "more are as good";
  calendar.leases[2].memory_per_slot_bytes = 8;
  EXPECT_EQ(only(calendar, 50).until_s, 200) << "the layout may not fit";
  calendar.leases[0].memory_per_slot_bytes = calendar.leases[1].memory_per_slot_bytes = 4;
  EXPECT_EQ(only(calendar, 50).until_s, 300);
  calendar.leases[2].memory_per_slot_bytes = 2;
  EXPECT_EQ(only(calendar, 50).until_s, 200);
  calendar.leases[1].begin_s = 101;
  EXPECT_EQ(only(calendar, 50).until_s, 100);
}

TEST(HostWindows, NoticeSaysHowLongAHostIsSure) {
  LeaseCalendar calendar = {{lease("1", {"a"}, 1, 0, 100)}, {}};
  calendar.leases[0].notice_s = 30;
  EXPECT_EQ(only(calendar, 50).sure_s, 70);
  EXPECT_EQ(only(calendar, 50).until_s, 100);
  calendar.curtailments = {{{"a"}, 60, 65, ""}};
  EXPECT_EQ(only(calendar, 50).sure_s, 60);
}

TEST(HostWindows, ACurtailmentPauses) {
  const LeaseCalendar calendar = {{lease("1", {"a"}, 1)}, {{{"a"}, 100, 200, "maintenance"}}};
  EXPECT_EQ(only(calendar, 99).state, State::kOpen);
  EXPECT_EQ(only(calendar, 99).until_s, 100);
  EXPECT_EQ(only(calendar, 99).why, "it is curtailed (maintenance)");
  EXPECT_EQ(only(calendar, 100).state, State::kCurtailed);
  EXPECT_EQ(only(calendar, 199).until_s, 200);
  EXPECT_EQ(only(calendar, 199).why, "it is curtailed (maintenance)");
  EXPECT_EQ(only(calendar, 200).state, State::kOpen);
  EXPECT_EQ(only(calendar, 200).until_s, kNever);
}

TEST(HostWindows, CurtailmentsThatOverlapAreOne) {
  const LeaseCalendar calendar = {
      {lease("1", {"a"}, 1)},
      {{{"a"}, 150, 300, ""}, {{"a"}, 100, 200, ""}, {{"a"}, 120, 130, ""}, {{"a"}, 301, 400, ""}}};
  EXPECT_EQ(only(calendar, 50).until_s, 100);
  EXPECT_EQ(only(calendar, 125).until_s, 300);
  EXPECT_EQ(only(calendar, 300).state, State::kOpen);
  EXPECT_EQ(only(calendar, 300).until_s, 301);
}

TEST(NextCalendarMoment, IsTheFirstBeginOrEndBehindNow) {
  const LeaseCalendar calendar = {{lease("1", {"a"}, 1, 100, 400), lease("2", {"b"}, 1)},
                                  {{{"a"}, 200, 300, ""}}};
  const std::vector<double> moments = {100, 200, 300, 400, kNever};
  double now_s = 0;
  for (const double moment_s : moments) {
    EXPECT_EQ(next_calendar_moment_s(calendar, now_s), moment_s);
    now_s = moment_s;
  }
}

}  // namespace
}  // namespace leasehold
