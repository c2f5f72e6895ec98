#include "launch/leases/layout_choice.h"

#include <gtest/gtest.h>

#include "launch/leases/planner.h"
#include "tests/launch/leases/calendars.h"

namespace leasehold {
namespace {

constexpr int64_t kGib = int64_t{1} << 30;
const Layout kWhole = {.pipeline = 1, .zero = 1};
const Layout kWholeZero2 = {.pipeline = 1, .zero = 2};
const Layout kTwoStages = {.pipeline = 2, .zero = 1};
const Layout kZero3 = {.pipeline = 1, .zero = 3};

// Hosts named "0", "1", ... with these slots and GiB per slot (0: unknown).
class Hosts {
 public:
  explicit Hosts(const std::vector<std::pair<int64_t, double>>& slots_and_gib) {
    for (const auto& [slots, gib] : slots_and_gib) {
      Lease one = lease("of-" + std::to_string(leases_.size()), {"h"}, slots);
      one.memory_per_slot_bytes = static_cast<int64_t>(gib * kGib);
      leases_.push_back(one);
    }
    for (const Lease& one : leases_) {
      windows_.push_back({.host = std::to_string(windows_.size()),
                          .state = HostWindow::State::kOpen,
                          .lease = &one});
    }
  }
  LayoutChoice choose(const LayoutLimits& limits, const MemoryForecasts& forecasts) const {
    return choose_layout(windows_, limits, forecasts);
  }

 private:
  std::vector<Lease> leases_;
  std::vector<HostWindow> windows_;
};

const LayoutLimits kLayoutLimits = {.lanes = 8,
                                    .layouts = {kWhole, kWholeZero2, kTwoStages, kZero3}};

MemoryForecasts forecasts_of(int64_t world, const std::vector<double>& gib) {
  MemoryForecasts forecasts;
  for (size_t i = 0; i < gib.size(); ++i) {
    forecasts[{world, kLayoutLimits.layouts[i]}] = static_cast<int64_t>(gib[i] * kGib);
  }
  return forecasts;
}

TEST(ChooseLayout, AsksNothingWhereNoMemoryIsSaid) {
  const LayoutChoice choice = Hosts({{2, 0}, {2, 0}}).choose(kLayoutLimits, {});
  ASSERT_TRUE(choice.world);
  EXPECT_EQ(choice.world->layout, kWhole);
  EXPECT_EQ(choice.world->world, 4);
  EXPECT_EQ(choice.world->why, "");
  EXPECT_TRUE(choice.unknown.empty());
}

TEST(ChooseLayout, AsksForWhatItHasToKnow) {
  const Hosts hosts({{4, 8}});
  const LayoutChoice choice = hosts.choose(kLayoutLimits, {});
  EXPECT_FALSE(choice.world);
  EXPECT_EQ(choice.unknown, (std::vector<LayoutOfWorld>{
                                {4, kWhole}, {4, kWholeZero2}, {4, kTwoStages}, {4, kZero3}}));
  // The first layout fits, so the other forecasts are not needed.
  EXPECT_TRUE(hosts.choose(kLayoutLimits, {{{4, kWhole}, 8 * kGib}}).world);
  EXPECT_EQ(hosts.choose(kLayoutLimits, {{{4, kWhole}, 8 * kGib + 1}}).unknown.size(), 3);
}

TEST(ChooseLayout, TakesTheFirstThatFitsAndSaysWhy) {
  const Hosts hosts({{4, 8}});
  const auto layout = [&](const std::vector<double>& gib) {
    return hosts.choose(kLayoutLimits, forecasts_of(4, gib)).world->layout;
  };
  EXPECT_EQ(layout({8, 7, 5, 4}), kWhole);
  EXPECT_EQ(layout({9, 8, 5, 4}), kWholeZero2);
  EXPECT_EQ(layout({12, 9, 8, 4}), kTwoStages);
  EXPECT_EQ(layout({12, 9, 9, 4}), kZero3);
  EXPECT_EQ(hosts.choose(kLayoutLimits, forecasts_of(4, {12, 9, 8, 4})).world->why,
            "pipeline 2, ZeRO 1 needs 8 GiB a rank of 0's 8 GiB, pipeline 1, ZeRO 1 needs 12 GiB "
            "a rank");
}

TEST(ChooseLayout, SaysWhatIsMissingWhereNothingFits) {
  const LayoutChoice choice = Hosts({{4, 3}}).choose(kLayoutLimits, forecasts_of(4, {12, 9, 8, 4}));
  EXPECT_FALSE(choice.world);
  EXPECT_TRUE(choice.unknown.empty());
  EXPECT_EQ(
      choice.why_not,
      "4 ranks fit in no layout: pipeline 1, ZeRO 3 needs 4 GiB a rank, the least of all, and "
      "a slot of 0 has 3 GiB");
}

TEST(ChooseLayout, FillsWholeCopiesUpToTheLanes) {
  const Hosts hosts({{3, 1}, {2, 1}});
  MemoryForecasts forecasts = forecasts_of(5, {2, 2, 2, 2});
  forecasts[{4, kTwoStages}] = kGib;  // two copies of two stages on five slots
  const LayoutChoice choice = hosts.choose(kLayoutLimits, forecasts);
  ASSERT_TRUE(choice.world);
  EXPECT_EQ(choice.world->world, 4);
  ASSERT_EQ(choice.world->hosts.size(), 2);
  EXPECT_EQ(choice.world->hosts[1].slots, 1);
  // With three lanes: three copies of one rank, or three of two.
  const LayoutLimits three = {.lanes = 3, .layouts = {kWhole, kTwoStages}};
  EXPECT_EQ(hosts.choose(three, {{{3, kWhole}, kGib}}).world->world, 3);
  // The tensor degree multiplies the ranks of every copy.
  const LayoutLimits tensor = {.lanes = 8, .tensor = 2, .layouts = {kTwoStages}};
  EXPECT_EQ(hosts.choose(tensor, {{{4, kTwoStages}, kGib}}).world->world, 4);
}

TEST(ChooseLayout, LeavesOutSmallSlotsWhereThatIsFaster) {
  // All seven slots hold the model only in seven stages; the six large slots hold it whole.
  const Hosts hosts({{2, 80}, {2, 80}, {2, 80}, {1, 4}});
  const LayoutLimits limits = {.lanes = 7, .layouts = {kWhole, {.pipeline = 7, .zero = 3}}};
  MemoryForecasts forecasts = {
      {{7, kWhole}, 60 * kGib}, {{6, kWhole}, 60 * kGib}, {{7, limits.layouts[1]}, 3 * kGib}};
  const LayoutChoice choice = hosts.choose(limits, forecasts);
  // One copy of seven stages takes (7 + 6) / 7 = 1.86; of six whole copies the slowest takes 2
  // microbatches.
  ASSERT_TRUE(choice.world);
  EXPECT_EQ(choice.world->world, 7);
  // With six lanes six copies take 1, and one copy of seven stages (6 + 6) / 7.
  LayoutLimits six = limits;
  six.lanes = 6;
  forecasts[{6, kWhole}] = 60 * kGib;
  const LayoutChoice faster = hosts.choose(six, forecasts);
  ASSERT_TRUE(faster.world);
  EXPECT_EQ(faster.world->world, 6);
  EXPECT_EQ(faster.world->hosts.size(), 3);
}

TEST(RelativeStepTime, IsTheFormulaOfTheBubble) {
  EXPECT_DOUBLE_EQ(relative_step_time(kWhole, 8, 4), 2);
  EXPECT_DOUBLE_EQ(relative_step_time(kWhole, 8, 7), 2);
  EXPECT_DOUBLE_EQ(relative_step_time({.pipeline = 4}, 8, 1), (8 + 3) / 4.0);
  EXPECT_DOUBLE_EQ(relative_step_time({.pipeline = 4, .chunks = 3}, 8, 1), (8 + 1) / 4.0);
}

// The planner together with the choice of layout.
const MeasuredTimes kMeasured = {.start_s = 10, .step_s = 1, .save_s = 4};

TEST(PlanWithMemory, WaitsForForecastsAndThenSaysWhy) {
  LeaseCalendar calendar = {{lease("mine", {"a", "b"}, 2)}, {}};
  calendar.leases[0].memory_per_slot_bytes = 8 * kGib;
  const PlanLimits limits = {kLayoutLimits, 5};
  const Plan waiting = plan(calendar, {}, limits, kMeasured, 0);
  EXPECT_EQ(waiting.world, 0);
  EXPECT_TRUE(waiting.hosts.empty());
  EXPECT_EQ(waiting.unknown.size(), 4);
  EXPECT_EQ(waiting.reason, "waiting: the memory that 4 layouts need is being worked out, on a, b");
  const Plan known = plan(calendar, {}, limits, kMeasured, 0, forecasts_of(4, {12, 9, 8, 4}));
  EXPECT_EQ(known.world, 4);
  EXPECT_EQ(known.layout, kTwoStages);
  EXPECT_EQ(known.reason,
            "4 ranks on a, b; pipeline 2, ZeRO 1 needs 8 GiB a rank of a's 8 GiB, pipeline 1, "
            "ZeRO 1 needs 12 GiB a rank");
  const Plan none = plan(calendar, {}, limits, kMeasured, 0, forecasts_of(4, {12, 10, 9, 9}));
  EXPECT_EQ(none.world, 0);
  EXPECT_NE(none.reason.find("waiting: 4 ranks fit in no layout"), std::string::npos)
      << none.reason;
}

TEST(PlanWithMemory, LeavesASmallHostOut) {
  LeaseCalendar calendar = {{lease("small", {"s"}, 1), lease("large", {"l"}, 2)}, {}};
  calendar.leases[0].memory_per_slot_bytes = 1 * kGib;
  calendar.leases[1].memory_per_slot_bytes = 8 * kGib;
  const PlanLimits limits = {{.lanes = 8, .layouts = {kWhole}}, 5};
  // Even alone, the small host could not train.
  MemoryForecasts forecasts = {
      {{1, kWhole}, 4 * kGib}, {{2, kWhole}, 4 * kGib}, {{3, kWhole}, 4 * kGib}};
  const Plan both = plan(calendar, {}, limits, kMeasured, 0, forecasts);
  EXPECT_EQ(both.reason,
            "2 ranks on l; pipeline 1, ZeRO 1 needs 4 GiB a rank of l's 8 GiB; without "
            "s (its slots' 1 GiB are too small to join)");
}

TEST(PlanWithMemory, AWorldThatRunsGoesOnWhileForecastsAreMade) {
  LeaseCalendar calendar = {{lease("mine", {"a"}, 2)}, {}};
  const PlanLimits limits = {kLayoutLimits, 5};
  const Plan running = plan(calendar, {}, limits, kMeasured, 0);
  calendar.leases.push_back(lease("more", {"b"}, 2));
  calendar.leases[1].memory_per_slot_bytes = 8 * kGib;
  const Plan waiting = plan(calendar, {}, limits, kMeasured, 0);
  EXPECT_FALSE(waiting.unknown.empty());
  EXPECT_FALSE(
      reason_to_drain(running.hosts, running.layout, waiting, calendar, limits, kMeasured, 0));
  const Plan known = plan(calendar, {}, limits, kMeasured, 0, forecasts_of(4, {2, 2, 2, 2}));
  const auto reason =
      reason_to_drain(running.hosts, running.layout, known, calendar, limits, kMeasured, 0);
  ASSERT_TRUE(reason);
  EXPECT_NE(reason->find("2.00 times as fast"), std::string::npos) << *reason;
}

}  // namespace
}  // namespace leasehold
