#include "launch/leases/planner.h"

#include <gtest/gtest.h>

#include "tests/launch/leases/calendars.h"

namespace leasehold {
namespace {

// Start 10, step 1, save 4, margin 5: a host is taken if more than 20 s are left, a world drains 10
// s before an end, and a restart costs 14 s.
const MeasuredTimes kTimes = {.start_s = 10, .step_s = 1, .save_s = 4};
const PlanLimits kLimits = {{.min_world = 1, .lanes = 16}, 5};

Plan plan_at(const LeaseCalendar& calendar, double now_s, const PlanLimits& limits = kLimits,
             const std::map<std::string, HostHealth>& health = {}) {
  return plan(calendar, health, limits, kTimes, now_s);
}

std::vector<std::string> names(const Plan& plan) {
  std::vector<std::string> names;
  for (const PlannedHost& host : plan.hosts) names.push_back(host.host);
  return names;
}

using Names = std::vector<std::string>;

void expect_says(const std::string& text, std::initializer_list<std::string> parts) {
  for (const std::string& part : parts) {
    EXPECT_NE(text.find(part), std::string::npos) << "'" << part << "' is not in: " << text;
  }
}

TEST(Plan, TakesWhatIsLeasedNow) {
  LeaseCalendar calendar = {{lease("mine", {"a"}, 2), lease("old", {"b"}, 2, 0, 100),
                             lease("new", {"c"}, 2, 900, 2000), lease("now", {"d"}, 3, 0, 1000)},
                            {}};
  calendar.leases[3].provider = "p";
  calendar.leases[3].site = "s";
  const Plan plan = plan_at(calendar, 500);
  EXPECT_EQ(names(plan), (Names{"a", "d"}));
  EXPECT_EQ(plan.world, 5);
  EXPECT_EQ(plan.hosts[1], (PlannedHost{"d", 3, "now", 1000, "p", "s"}));
  EXPECT_EQ(plan.hosts[0].end_s, kNever);
  EXPECT_EQ(plan.drain_at_s, 990);
  EXPECT_EQ(plan.next_look_s, 900);
  EXPECT_EQ(plan.reason,
            "5 ranks on a, d; without b (its lease 'old' ended at 1970-01-01T00:01:40Z), "
            "c (its lease 'new' begins at 1970-01-01T00:15:00Z)");
}

TEST(Plan, OwnedHostsNeverDrain) {
  const Plan plan = plan_at({{lease("mine", {"a", "b"}, 1)}, {}}, 500);
  EXPECT_EQ(plan.world, 2);
  EXPECT_EQ(plan.drain_at_s, kNever);
  EXPECT_EQ(plan.next_look_s, kNever);
  EXPECT_EQ(plan.reason, "2 ranks on a, b");
}

TEST(Plan, LeavesOutWhatEndsTooSoon) {
  const LeaseCalendar calendar = {{lease("t", {"a"}, 1, 0, 100)}, {}};
  EXPECT_EQ(plan_at(calendar, 79.9).world, 1);
  EXPECT_EQ(plan_at(calendar, 79.9).next_look_s, 80);
  const Plan late = plan_at(calendar, 80);
  EXPECT_EQ(late.world, 0);
  EXPECT_TRUE(late.hosts.empty());
  EXPECT_EQ(late.drain_at_s, kNever);
  expect_says(late.reason, {"waiting: 0 of at least 1 rank", "a (its lease 't' ends at", "20.0 s"});
}

TEST(Plan, CountsWhatIsNotMeasuredInMargins) {
  const LeaseCalendar calendar = {{lease("t", {"a"}, 1, 0, 1000)}, {}};
  const auto world = [&](const MeasuredTimes& times, double margin_s, double now_s) {
    return plan(calendar, {}, {{.lanes = 4}, margin_s}, times, now_s).world;
  };
  EXPECT_EQ(world({}, 10, 1000 - 61), 1);  // 2 + 1 + 2 margins, and the margin itself
  EXPECT_EQ(world({}, 10, 1000 - 60), 0);
  EXPECT_EQ(world({.start_s = 1}, 10, 1000 - 42), 1);
  EXPECT_EQ(world({.start_s = 1}, 10, 1000 - 41), 0);
  EXPECT_EQ(world({}, 0, 1000 - 5.5), 1);  // at least a second
  EXPECT_EQ(world({}, 0, 1000 - 5), 0);
  EXPECT_EQ(world({.start_s = 0, .step_s = 0, .save_s = 0}, 0, 999.5), 1);
}

TEST(Plan, ACurtailmentEndsAHostsTime) {
  const LeaseCalendar calendar = {{lease("mine", {"a"}, 1)}, {{{"a"}, 100, 200, "storm"}}};
  const Plan before = plan_at(calendar, 50);
  EXPECT_EQ(before.hosts.at(0).end_s, 100);
  EXPECT_EQ(before.drain_at_s, 90);
  const Plan during = plan_at(calendar, 100);
  EXPECT_EQ(during.world, 0);
  EXPECT_EQ(during.next_look_s, 200);
  expect_says(during.reason, {"a (it is curtailed (storm) until 1970-01-01T00:03:20Z)"});
  EXPECT_EQ(plan_at(calendar, 200).world, 1);
}

TEST(Plan, TakesWholeCopiesOfTheModel) {
  const PlanLimits four_each = {{.lanes = 4, .tensor = 4}, 5};
  const LeaseCalendar three_hosts = {
      {lease("a", {"a"}, 3), lease("b", {"b"}, 3), lease("c", {"c"}, 3)}, {}};
  const Plan eight = plan_at(three_hosts, 0, four_each);
  EXPECT_EQ(names(eight), (Names{"a", "b", "c"}));
  EXPECT_EQ(eight.world, 8);
  EXPECT_EQ(eight.hosts[2].slots, 2);

  const Plan one_copy = plan_at({{lease("a", {"a"}, 5), lease("b", {"b"}, 2)}, {}}, 0, four_each);
  EXPECT_EQ(names(one_copy), Names{"a"});
  EXPECT_EQ(one_copy.world, 4);
  expect_says(one_copy.reason, {"4 ranks on a", "b (another copy of the model needs 4 ranks)"});

  const Plan none = plan_at({{lease("a", {"a"}, 3)}, {}}, 0, four_each);
  EXPECT_EQ(none.world, 0);
  expect_says(none.reason, {"waiting: 3 of at least 4 ranks", "on a"});
}

TEST(Plan, MoreCopiesOfTheModelAreWhatMakesStepsFaster) {
  // 8 lanes over 2 copies, then over 4 copies.
  const PlanLimits limits = {{.lanes = 8, .tensor = 2}, 5};
  const LeaseCalendar calendar = {{lease("a", {"a"}, 4), lease("b", {"b"}, 4)}, {}};
  const Plan wanted = plan_at(calendar, 0, limits);
  ASSERT_EQ(wanted.world, 8);
  const std::vector<PlannedHost> running = {{"a", 4, "a", kNever, "", ""}};
  const auto reason = reason_to_drain(running, {}, wanted, calendar, limits, kTimes, 0);
  ASSERT_TRUE(reason.has_value());
  expect_says(*reason, {"8 ranks can train instead of 4", "2.00 times as fast", "with b"});
}

TEST(Plan, TakesAtMostTheJobsRanks) {
  const LeaseCalendar calendar = {{lease("short", {"a"}, 4, 0, 1000), lease("mine", {"b"}, 4),
                                   lease("long", {"c"}, 4, 0, 5000)},
                                  {}};
  const Plan six = plan_at(calendar, 0, {{.min_world = 1, .lanes = 6}, 5});
  EXPECT_EQ(names(six), (Names{"b", "c"}));
  EXPECT_EQ(six.hosts[1].slots, 2);
  EXPECT_EQ(six.world, 6);
  expect_says(six.reason, {"6 ranks on b, c", "a (the job takes 6 ranks)"});
  const Plan four = plan_at(calendar, 0, {{.min_world = 1, .lanes = 4}, 5});
  EXPECT_EQ(names(four), Names{"b"});
  EXPECT_EQ(four.drain_at_s, kNever);
}

TEST(Plan, PrefersTheSureThenTheCheapThenTheFirst) {
  LeaseCalendar calendar = {{lease("1", {"a"}, 1, 0, 1000), lease("2", {"b"}, 1, 0, 1000),
                             lease("3", {"c"}, 1, 0, 1000), lease("4", {"d"}, 1, 0, 1000)},
                            {}};
  calendar.leases[0].notice_s = 100;
  calendar.leases[1].price_per_slot_hour = 2;
  calendar.leases[2].price_per_slot_hour = 1;
  calendar.leases[3].price_per_slot_hour = 1;
  EXPECT_EQ(names(plan_at(calendar, 0)), (Names{"c", "d", "b", "a"}));
}

TEST(Plan, WaitsForTheMinimum) {
  const LeaseCalendar calendar = {{lease("mine", {"a"}, 1), lease("t", {"b"}, 2, 100, 1000)}, {}};
  const PlanLimits limits = {{.min_world = 3, .lanes = 8}, 5};
  const Plan early = plan_at(calendar, 0, limits);
  EXPECT_TRUE(early.hosts.empty());
  EXPECT_EQ(early.world, 0);
  EXPECT_EQ(early.next_look_s, 100);
  EXPECT_EQ(early.reason,
            "waiting: 1 of at least 3 ranks can train now, on a; without b (its lease 't' begins "
            "at 1970-01-01T00:01:40Z)");
  EXPECT_EQ(plan_at(calendar, 100, limits).world, 3);
  // It can never train, and the plan simply waits.
  EXPECT_EQ(plan_at(calendar, 100, {{.min_world = 9, .lanes = 8}, 5}).world, 0);
}

TEST(Plan, LeavesOutTheSick) {
  const LeaseCalendar calendar = {{lease("mine", {"a", "b", "c"}, 1)}, {}};
  const std::map<std::string, HostHealth> health = {
      {"a", {HostHealth::State::kQuarantined, 700, "crashed three times"}},
      {"b", {HostHealth::State::kUnreachable, 0, "no answer to ssh"}},
      {"elsewhere", {HostHealth::State::kQuarantined, 100, ""}}};
  const Plan plan = plan_at(calendar, 500, kLimits, health);
  EXPECT_EQ(names(plan), Names{"c"});
  EXPECT_EQ(plan.next_look_s, 700);
  expect_says(plan.reason, {"a (in quarantine until 1970-01-01T00:11:40Z: crashed three times)",
                            "b (does not answer: no answer to ssh)"});
  EXPECT_EQ(names(plan_at(calendar, 700, kLimits, health)), (Names{"a", "c"}));
}

TEST(Plan, LeavesOutWhatIsNotWorthTheRestartThatItBrings) {
  // With b, twice as many ranks train for T = end - 10 (drain) - 10 (start); a restart costs 14.
  const auto with_end = [](double end_s) {
    return LeaseCalendar{{lease("mine", {"a"}, 1), lease("t", {"b"}, 1, 0, end_s)}, {}};
  };
  EXPECT_EQ(names(plan_at(with_end(34.5), 0)), (Names{"a", "b"}));
  EXPECT_EQ(plan_at(with_end(34.5), 0).next_look_s, 0.5);
  const Plan without = plan_at(with_end(34), 0);
  EXPECT_EQ(names(without), Names{"a"});
  EXPECT_EQ(without.drain_at_s, kNever);
  expect_says(without.reason, {"b (its lease 't' ends at", "too soon to be worth a restart"});
  // The minimum needs it at any cost.
  EXPECT_EQ(plan_at(with_end(34), 0, {{.min_world = 2, .lanes = 8}, 5}).world, 2);
}

TEST(Plan, HostsThatEndTogetherAreWorthARestartTogether) {
  LeaseCalendar calendar = {{lease("mine", {"a"}, 4)}, {}};
  // One more rank for 40 s gains a quarter, 10 s; eight more gain 80 s.
  for (int i = 0; i < 8; ++i) {
    calendar.leases.push_back(lease(fmt::format("t{}", i), {fmt::format("b{}", i)}, 1, 0, 60 - i));
  }
  EXPECT_EQ(plan_at(calendar, 0).world, 12);
  calendar.leases.resize(2);
  EXPECT_EQ(plan_at(calendar, 0).world, 4);
}

TEST(Plan, ReasonsStayASentence) {
  LeaseCalendar calendar = {{lease("later", {}, 1, 100)}, {}};
  for (int i = 0; i < 100; ++i) calendar.leases[0].hosts.push_back(fmt::format("h{}", i));
  expect_says(plan_at(calendar, 0).reason, {"h7 (", "and 92 more"});
  EXPECT_EQ(plan_at(calendar, 0).reason.find("h8"), std::string::npos);
}

class Drain : public ::testing::Test {
 protected:
  // Starts the world that is planned at this time.
  void start(double now_s) { running_ = plan_at(calendar_, now_s, limits_).hosts; }
  std::optional<std::string> drain(double now_s) {
    return reason_to_drain(running_, {}, plan_at(calendar_, now_s, limits_), calendar_, limits_,
                           times_, now_s);
  }
  DrainTime time(double now_s) { return drain_time(running_, calendar_, limits_, times_, now_s); }

  LeaseCalendar calendar_ = {{lease("mine", {"a"}, 1), lease("t", {"b"}, 1, 0, 1000)}, {}};
  PlanLimits limits_ = kLimits;
  MeasuredTimes times_ = kTimes;
  std::vector<PlannedHost> running_;
};

TEST_F(Drain, ComesInTimeForTheFirstEnd) {
  start(0);
  EXPECT_EQ(time(0).at_s, 990);
  EXPECT_EQ(time(0).why, "b: its lease 't' ends at 1970-01-01T00:16:40Z");
  // The planner would not take b any longer, but while b runs it continues.
  EXPECT_EQ(names(plan_at(calendar_, 985)), Names{"a"});
  EXPECT_EQ(drain(989.9), std::nullopt);
  EXPECT_EQ(drain(990), time(0).why);
}

TEST_F(Drain, ComesEarlierWhenSavingTakesLonger) {
  start(0);
  times_.save_s = 104;
  EXPECT_EQ(drain(889), std::nullopt);
  EXPECT_NE(drain(890), std::nullopt);
}

TEST_F(Drain, NeverComesForOwnedHosts) {
  calendar_.leases.pop_back();
  start(0);
  EXPECT_EQ(time(5).at_s, kNever);
  EXPECT_EQ(time(5).why, "");
  EXPECT_EQ(drain(1e9), std::nullopt);
}

TEST_F(Drain, FollowsEditsOfTheCalendar) {
  start(0);
  calendar_.leases[1].end_s = 500;
  EXPECT_EQ(drain(489), std::nullopt);
  EXPECT_NE(drain(490), std::nullopt);
  calendar_.leases[1].end_s = 2000;
  EXPECT_EQ(drain(1500), std::nullopt);
  calendar_.curtailments = {{{"a"}, 600, 700, "storm"}};
  EXPECT_EQ(drain(589), std::nullopt);
  expect_says(drain(590).value(), {"a: it is curtailed (storm) at 1970-01-01T00:10:00Z"});
  expect_says(drain(650).value(), {"a may not be used now", "until 1970-01-01T00:11:40Z"});
}

TEST_F(Drain, ComesAtOnceForAHostThatLeftTheCalendar) {
  start(0);
  calendar_.leases.pop_back();
  EXPECT_EQ(drain(100), "b is not in the lease calendar any longer");
  EXPECT_EQ(time(100).at_s, 100);
}

TEST_F(Drain, ComesAtOnceForALeaseThatEndedOrShrank) {
  calendar_.leases[1].slots = 4;
  start(0);
  calendar_.leases[1].slots = 3;
  expect_says(drain(100).value(), {"b runs 4 ranks", "has 3 now"});
  calendar_.leases[1].slots = 5;
  calendar_.leases[1].end_s = 50;
  expect_says(drain(100).value(), {"b may not be used now: its lease 't' ended"});
  calendar_.leases[1] = lease("t", {"b"}, 4, 200, 300);
  expect_says(drain(100).value(), {"b may not be used now: its lease 't' begins"});
}

TEST_F(Drain, ALeaseThatIsProlongedGoesOn) {
  start(0);
  calendar_.leases.push_back(lease("t2", {"b"}, 1, 1000, 3000));
  EXPECT_EQ(drain(999), std::nullopt);
  EXPECT_EQ(drain(1001), std::nullopt);
  EXPECT_EQ(time(1001).at_s, 2990);
}

TEST_F(Drain, ATrancheThatJoinsIsWorthARestart) {
  calendar_ = {{lease("mine", {"a"}, 2), lease("t", {"b"}, 2, 100)}, {}};
  start(0);
  EXPECT_EQ(drain(99), std::nullopt);
  EXPECT_EQ(drain(100), "4 ranks can train instead of 2, 2.00 times as fast, with b");
  start(100);
  EXPECT_EQ(drain(101), std::nullopt);
}

TEST_F(Drain, AShortTrancheIsNotWorthARestart) {
  // Twice as fast until 10 s before the end: 2 (H - 14) - H > 14, so H must be above 42.
  calendar_ = {{lease("mine", {"a"}, 2), lease("t", {"b"}, 2, 100, 152)}, {}};
  start(0);
  EXPECT_EQ(plan_at(calendar_, 100).world, 4);
  EXPECT_EQ(drain(100), std::nullopt);
  calendar_.leases[1].end_s = 153;
  EXPECT_NE(drain(100), std::nullopt);
}

TEST_F(Drain, AWorldThatEndsSoonWaitsForItsEnd) {
  // The running world must restart at 190 anyway, so there is nothing to gain after that.
  calendar_ = {{lease("t", {"a"}, 2, 0, 200), lease("mine", {"b"}, 4, 100)}, {}};
  start(0);
  EXPECT_NE(drain(170), std::nullopt);  // 1 more for each of 20 s: 20 > 14
  EXPECT_EQ(drain(178), std::nullopt);  // 12 s are not enough
  EXPECT_NE(drain(190), std::nullopt);
}

TEST_F(Drain, RanksThatMakeNothingFasterAreNotWorthARestart) {
  limits_.layouts.lanes = 8;
  calendar_ = {{lease("mine", {"a"}, 4), lease("t", {"b"}, 3, 100)}, {}};
  start(0);
  EXPECT_EQ(plan_at(calendar_, 100, limits_).world, 7);
  EXPECT_EQ(drain(100), std::nullopt);  // one rank still has two of the eight lanes
  calendar_.leases[1].slots = 4;
  EXPECT_NE(drain(100), std::nullopt);
}

TEST_F(Drain, ALongerLeaseOfAsManyRanksIsNotWorthARestart) {
  limits_.layouts.lanes = 2;
  calendar_ = {{lease("t", {"a"}, 2, 0, 1000), lease("mine", {"b"}, 2, 100)}, {}};
  start(0);
  EXPECT_EQ(names(plan_at(calendar_, 100, limits_)), Names{"b"});
  EXPECT_EQ(drain(100), std::nullopt);
}

TEST_F(Drain, TheLastHostGoesAlsoWhenNothingIsWanted) {
  calendar_ = {{lease("t", {"a"}, 2, 0, 1000)}, {}};
  start(0);
  EXPECT_EQ(plan_at(calendar_, 990).world, 0);
  EXPECT_EQ(drain(985), std::nullopt);
  EXPECT_NE(drain(990), std::nullopt);
}

}  // namespace
}  // namespace leasehold
