#include "launch/plan/calendar_walk.h"

#include <fstream>
#include <gtest/gtest.h>
#include <sstream>

namespace leasehold {
namespace {

constexpr double kDay = 86400;

// Two owned hosts of four slots; two more of eight that are leased for ten days from day 5.
constexpr const char* kCalendar = R"([[lease]]
id = "own"
hosts = ["a", "b"]
slots = 4
[[lease]]
id = "texas"
hosts = ["c", "d"]
slots = 4
provider = "lone-star"
begin = "+5d"
end = "+15d"
price_per_slot_hour = 2.0
)";

class CalendarWalkTest : public testing::Test {
 protected:
  WalkInput input(double until_s, double target_steps) const {
    return {
        .calendar = calendar_,
        .limits = {{.min_world = 1, .lanes = 64}, 30},
        .start_s = 300,
        .save_s = 60,
        .from_s = 0,
        .until_s = until_s,
        .target_steps = target_steps,
        .step_s = [](const Layout&,
                     int64_t world) { return Result<double>(80.0 / static_cast<double>(world)); },
        .forecast =
            [](const std::vector<LayoutOfWorld>&) {
              return Result<MemoryForecasts>(Status(Code::kInternal, "nobody asks"));
            }};
  }
  const LeaseCalendar calendar_ = parse_lease_calendar(kCalendar, "leases.toml", 0).value();
};

TEST_F(CalendarWalkTest, WorldsFollowTheLeases) {
  const CalendarWalk walk = walk_calendar(input(20 * kDay, 1e9)).value();
  std::vector<int64_t> worlds;
  double at_s = 0;
  for (const WalkPeriod& period : walk.periods) {
    EXPECT_DOUBLE_EQ(period.begin_s, at_s);
    at_s = period.end_s;
    if (period.kind == WalkPeriod::Kind::kTraining) worlds.push_back(period.world);
  }
  EXPECT_EQ(worlds, (std::vector<int64_t>{8, 16, 8}));
  EXPECT_DOUBLE_EQ(walk.end_s, 20 * kDay);
  EXPECT_FALSE(walk.reached_target);
  // 5, 10 and 5 days, less three starts and two saves.
  EXPECT_NEAR(walk.steps, 10 * kDay / 10 + 10 * kDay / 5, 3 * 300 / 5.0 + 2 * 60 / 5.0 + 60);
  EXPECT_LT(walk.steps, 10 * kDay / 10 + 10 * kDay / 5);
}

TEST_F(CalendarWalkTest, EndsWhereTheTargetIsReached) {
  const CalendarWalk walk = walk_calendar(input(kNever, 1000)).value();
  EXPECT_TRUE(walk.reached_target);
  EXPECT_NEAR(walk.steps, 1000, 1e-3);
  EXPECT_NEAR(walk.end_s, 300 + 1000 * 10, 1);
}

TEST_F(CalendarWalkTest, WaitsForEverWhereNoLeaseComes) {
  LeaseCalendar over = calendar_;
  over.leases.erase(over.leases.begin());
  WalkInput late = input(kNever, 1000);
  const WalkInput after{.calendar = over,
                        .limits = late.limits,
                        .start_s = 300,
                        .save_s = 60,
                        .from_s = 20 * kDay,
                        .until_s = kNever,
                        .target_steps = 1000,
                        .step_s = late.step_s,
                        .forecast = late.forecast};
  const CalendarWalk walk = walk_calendar(after).value();
  EXPECT_FALSE(walk.reached_target);
  EXPECT_EQ(walk.end_s, kNever);
  EXPECT_EQ(walk.steps, 0);
}

TEST_F(CalendarWalkTest, LeasesCostUsedOrNot) {
  const CalendarWalk walk = walk_calendar(input(20 * kDay, 1e9)).value();
  const auto costs = lease_costs(calendar_, walk, 0);
  ASSERT_EQ(costs.size(), 2);
  EXPECT_DOUBLE_EQ(costs[0].usd, 0);
  EXPECT_DOUBLE_EQ(costs[1].slot_hours, 8 * 240);
  EXPECT_DOUBLE_EQ(costs[1].usd, 2 * 8 * 240);
  EXPECT_GT(costs[1].trained_hours, 0.99 * 8 * 240);
  EXPECT_LT(costs[1].trained_hours, 8 * 240);
}

TEST_F(CalendarWalkTest, TranchesThatComeLateMakeFewerTokens) {
  std::string text = kCalendar;
  text += "slip_p50 = \"2d\"\nslip_p90 = \"20d\"\n";
  const LeaseCalendar calendar = parse_lease_calendar(text, "leases.toml", 0).value();
  EXPECT_DOUBLE_EQ(delivered(calendar, Delivery::kPlanned, 0).leases[1].begin_s, 5 * kDay);
  EXPECT_DOUBLE_EQ(delivered(calendar, Delivery::kMedian, 0).leases[1].begin_s, 7 * kDay);
  EXPECT_EQ(delivered(calendar, Delivery::kOneOfTen, 0).leases.size(), 1);
  EXPECT_DOUBLE_EQ(delivered(calendar, Delivery::kMedian, 6 * kDay).leases[1].begin_s, 5 * kDay);
  const WalkInput planned = input(20 * kDay, 1e9);
  const auto steps = [&](Delivery delivery) {
    const LeaseCalendar late = delivered(calendar, delivery, 0);
    return walk_calendar({.calendar = late,
                          .limits = planned.limits,
                          .start_s = planned.start_s,
                          .save_s = planned.save_s,
                          .from_s = 0,
                          .until_s = planned.until_s,
                          .target_steps = planned.target_steps,
                          .step_s = planned.step_s,
                          .forecast = planned.forecast})
        ->steps;
  };
  EXPECT_NEAR(steps(Delivery::kPlanned) - steps(Delivery::kMedian), 2 * kDay / 10, 5);
  EXPECT_NEAR(steps(Delivery::kOneOfTen), (20 * kDay - 300) / 10, 1);
}

TEST_F(CalendarWalkTest, ContractsAreKeptInTwoBooks) {
  const auto books = [](const std::string& keys) {
    const std::string text =
        std::string(kCalendar) + "[[contract]]\nprovider = \"lone-star\"\n" + keys;
    const LeaseCalendar calendar = parse_lease_calendar(text, "leases.toml", 0).value();
    // Five of the ten days: 16 USD an hour.
    return contract_books(calendar, 0, 10 * kDay).front();
  };
  const ContractBook both = books("prepaid_usd = 2400\nminimum_usd = 4800\n");
  EXPECT_NEAR(both.used_usd, 1920, 1e-6);
  EXPECT_NEAR(both.first_in_left_usd, 480, 1e-6);
  EXPECT_NEAR(both.pro_rata_left_usd, 2400 * (1 - 1920.0 / 4800), 1e-6);
  EXPECT_NEAR(both.owed_usd, 4800 - 3840, 1e-6);
  const ContractBook prepaid = books("prepaid_usd = 1000\n");
  EXPECT_EQ(prepaid.first_in_left_usd, 0);
  EXPECT_EQ(prepaid.owed_usd, 0);
}

// 9.7 billion USD over five years, a fifth paid ahead: used first, it is gone after one year in
// full.
TEST(PublishedDeal, ThePrepaymentLastsAYearInFull) {
  std::ostringstream text;
  text << std::ifstream(LEASEHOLD_SOURCE_DIR "/launch/examples/deal_texas.toml").rdbuf();
  const LeaseCalendar calendar = parse_lease_calendar(text.str(), "deal_texas.toml", 0).value();
  ASSERT_EQ(calendar.leases.size(), 4);
  const double begin_s = calendar.leases.front().begin_s;
  const double full_s = calendar.leases.back().begin_s;
  const ContractBook at_full = contract_books(calendar, begin_s, full_s).front();
  const ContractBook year_later = contract_books(calendar, begin_s, full_s + 365 * kDay).front();
  EXPECT_NEAR((year_later.used_usd - at_full.used_usd) / 1.94e9, 1, 0.01);
  EXPECT_GT(at_full.first_in_left_usd, 0);
  EXPECT_EQ(year_later.first_in_left_usd, 0);
  EXPECT_GT(year_later.pro_rata_left_usd, 1e9);
  EXPECT_NEAR(year_later.owed_usd / 9.7e9, 0, 0.01);  // the leases come to the minimum
}

TEST_F(CalendarWalkTest, ABudgetEndsWhereTheLeasesHaveCostIt) {
  EXPECT_NEAR(budget_end_s(calendar_, 0, 16 * 24), 6 * kDay, 2);
  EXPECT_EQ(budget_end_s(calendar_, 0, 1e6), kNever);
  EXPECT_NEAR(cost_usd(calendar_, 0, 7 * kDay), 2 * 16 * 24, 1e-6);
}

TEST_F(CalendarWalkTest, AStepThatCannotBeToldEndsTheWalk) {
  WalkInput given = input(kDay, 10);
  given.step_s = [](const Layout&, int64_t) {
    return Result<double>(error(Code::kBadConfig, "no figure"));
  };
  EXPECT_EQ(walk_calendar(given).status().code(), Code::kBadConfig);
}

}  // namespace
}  // namespace leasehold
