// Tests properties of plans over random calendars, health and times.
#include <cmath>
#include <gtest/gtest.h>
#include <random>
#include <set>

#include "launch/leases/planner.h"
#include "launch/leases/world_choice.h"
#include "tests/launch/leases/calendars.h"

namespace leasehold {
namespace {

constexpr int kCases = 1000;
constexpr double kEnd = 400;  // a random calendar has nothing new after this time

struct Case {
  LeaseCalendar calendar;
  std::map<std::string, HostHealth> health;
  PlanLimits limits;
  MeasuredTimes times;
};

// Draws numbers, now and then whole ones, so that ends and needs meet exactly.
class Dice {
 public:
  explicit Dice(uint32_t seed) : engine_(seed) {}
  int64_t whole(int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(engine_);
  }
  double number(double high) {
    if (whole(0, 1) == 0) return static_cast<double>(whole(0, static_cast<int64_t>(high)));
    return std::uniform_real_distribution<double>(0, high)(engine_);
  }
  bool one_in(int64_t n) { return whole(1, n) == 1; }

 private:
  std::mt19937 engine_;
};

Case make_case(uint32_t seed) {
  Dice dice(seed);
  Case made;
  const int64_t num_hosts = dice.whole(1, 6);
  for (int64_t i = 0; i < num_hosts; ++i) {
    const std::string host = fmt::format("h{}", i);
    double begin_s = dice.one_in(3) ? -kNever : dice.number(200);
    for (int64_t part = dice.whole(1, 2); part > 0; --part) {
      const double start_s = std::max(0.0, begin_s);
      const double end_s = part == 1 && dice.one_in(3) ? kNever : start_s + 1 + dice.number(200);
      Lease made_lease = lease(fmt::format("{}-{}", host, part), {host}, dice.whole(1, 5), begin_s,
                               std::min(end_s, part == 1 ? kNever : kEnd - 1));
      if (end_s < kNever && dice.one_in(3)) made_lease.notice_s = dice.number(50);
      made_lease.price_per_slot_hour = static_cast<double>(dice.whole(0, 2));
      begin_s = made_lease.end_s + (dice.one_in(2) ? 0 : dice.number(30));
      made.calendar.leases.push_back(made_lease);
    }
    if (dice.one_in(3)) {
      const double pause_s = dice.number(300);
      made.calendar.curtailments.push_back({{host}, pause_s, pause_s + 1 + dice.number(50), ""});
    }
    if (dice.one_in(4)) {
      const bool quarantined = dice.one_in(2);
      made.health[host] = {
          quarantined ? HostHealth::State::kQuarantined : HostHealth::State::kUnreachable,
          dice.number(200), "ill"};
    }
  }
  made.limits.layouts.lanes = dice.whole(1, 16);
  made.limits.layouts.min_world = dice.one_in(2) ? 1 : dice.whole(1, made.limits.layouts.lanes);
  made.limits.margin_s = dice.number(10);
  if (dice.one_in(2)) made.times.start_s = dice.number(20);
  if (dice.one_in(2)) made.times.step_s = dice.number(5);
  if (dice.one_in(2)) made.times.save_s = dice.number(10);
  return made;
}

Plan plan_of(const Case& made, double now_s) {
  return plan(made.calendar, made.health, made.limits, made.times, now_s);
}

// Returns the time, or the estimate that planner.h promises for a time that is not measured.
double known(const std::optional<double>& measured_s, double margins, const Case& made) {
  return measured_s.value_or(margins * std::max(1.0, made.limits.margin_s));
}
double wind_down_s(const Case& made) {
  return known(made.times.step_s, 1, made) + known(made.times.save_s, 2, made) +
         made.limits.margin_s;
}
double start_s(const Case& made) { return known(made.times.start_s, 2, made); }

// Returns the host's lease that holds at a time; nullptr if there is none or the host is curtailed.
const Lease* lease_at(const Case& made, const std::string& host, double at_s) {
  for (const Curtailment& pause : made.calendar.curtailments) {
    if (pause.hosts[0] == host && pause.begin_s <= at_s && at_s < pause.end_s) return nullptr;
  }
  for (const Lease& lease : made.calendar.leases) {
    if (lease.hosts[0] == host && lease.begin_s <= at_s && at_s < lease.end_s) return &lease;
  }
  return nullptr;
}

bool is_healthy(const Case& made, const std::string& host, double now_s) {
  const auto found = made.health.find(host);
  if (found == made.health.end()) return true;
  if (found->second.state == HostHealth::State::kUnreachable) return false;
  return found->second.until_s <= now_s;
}

// Returns every time at which the calendar or the health changes.
std::vector<double> moments(const Case& made) {
  std::vector<double> moments;
  for (const Lease& lease : made.calendar.leases) {
    moments.insert(moments.end(), {lease.begin_s, lease.end_s});
  }
  for (const Curtailment& pause : made.calendar.curtailments) {
    moments.insert(moments.end(), {pause.begin_s, pause.end_s});
  }
  for (const auto& [host, health] : made.health) {
    if (health.state == HostHealth::State::kQuarantined) moments.push_back(health.until_s);
  }
  return moments;
}

// Returns the times to plan at: random times, and the exact times of changes.
std::vector<double> looks(const Case& made, Dice& dice) {
  std::vector<double> looks;
  for (const double moment_s : moments(made)) {
    if (std::isfinite(moment_s)) looks.push_back(moment_s);
  }
  for (int i = 0; i < 6; ++i) looks.push_back(dice.number(kEnd));
  return looks;
}

template <typename Check>
void for_every_case(const Check& check) {
  for (uint32_t seed = 1; seed <= kCases; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    const Case made = make_case(seed);
    Dice dice(~seed);
    check(made, dice);
    if (::testing::Test::HasFailure()) return;
  }
}

TEST(PlanProperties, KeepsWithinTheLimits) {
  int64_t num_worlds = 0;
  int64_t num_waits = 0;
  for_every_case([&](const Case& made, Dice& dice) {
    for (const double now_s : looks(made, dice)) {
      const Plan plan = plan_of(made, now_s);
      int64_t ranks = 0;
      for (const PlannedHost& host : plan.hosts) ranks += host.slots;
      EXPECT_EQ(plan.world, ranks);
      EXPECT_LE(ranks, made.limits.layouts.lanes);
      EXPECT_FALSE(plan.reason.empty());
      EXPECT_GT(plan.next_look_s, now_s);
      if (plan.hosts.empty()) {
        EXPECT_EQ(plan.reason.substr(0, 8), "waiting:");
        EXPECT_EQ(plan.drain_at_s, kNever);
        ++num_waits;
      } else {
        EXPECT_GE(ranks, made.limits.layouts.min_world);
        EXPECT_GT(plan.drain_at_s, now_s);
        ++num_worlds;
      }
    }
  });
  EXPECT_GT(num_worlds, kCases);
  EXPECT_GT(num_waits, kCases);
}

TEST(PlanProperties, TakesOnlyHostsWhoseTimeSuffices) {
  for_every_case([](const Case& made, Dice& dice) {
    const double need_s = start_s(made) + wind_down_s(made);
    for (const double now_s : looks(made, dice)) {
      const Plan plan = plan_of(made, now_s);
      std::set<std::string> seen;
      for (const PlannedHost& host : plan.hosts) {
        EXPECT_TRUE(seen.insert(host.host).second) << host.host;
        EXPECT_TRUE(is_healthy(made, host.host, now_s)) << host.host;
        EXPECT_GT(host.end_s - now_s, need_s - 1e-9);
        EXPECT_LE(plan.drain_at_s, host.end_s - wind_down_s(made) + 1e-9);
        // The host is leased with enough slots at every time until its end, and no longer.
        const Lease* first = lease_at(made, host.host, now_s);
        ASSERT_NE(first, nullptr);
        EXPECT_EQ(host.lease, first->id);
        for (const double at_s : moments(made)) {
          if (at_s < now_s || at_s >= host.end_s) continue;
          const Lease* held = lease_at(made, host.host, at_s);
          ASSERT_NE(held, nullptr) << host.host << " at " << at_s;
          EXPECT_GE(held->slots, host.slots);
        }
        if (host.end_s < kNever) {
          const Lease* after = lease_at(made, host.host, host.end_s);
          EXPECT_TRUE(after == nullptr || after->slots != first->slots);
        }
      }
    }
  });
}

TEST(PlanProperties, WaitsOnlyWhenTheHostsDoNotSuffice) {
  for_every_case([](const Case& made, Dice& dice) {
    const double need_s = start_s(made) + wind_down_s(made);
    for (const double now_s : looks(made, dice)) {
      if (!plan_of(made, now_s).hosts.empty()) continue;
      int64_t slots = 0;
      for (const Lease& lease : made.calendar.leases) {
        const std::string& host = lease.hosts[0];
        double pause_s = kNever;
        for (const Curtailment& pause : made.calendar.curtailments) {
          if (pause.hosts[0] == host && pause.begin_s > now_s) {
            pause_s = std::min(pause_s, pause.begin_s);
          }
        }
        const bool holds = lease_at(made, host, now_s) == &lease &&
                           std::min(lease.end_s, pause_s) - now_s > need_s + 1e-9;
        if (holds && is_healthy(made, host, now_s)) slots += lease.slots;
      }
      EXPECT_LT(slots, made.limits.layouts.min_world);
    }
  });
}

TEST(PlanProperties, LooksAgainWhenSomethingChanges) {
  for_every_case([](const Case& made, Dice& dice) {
    for (const double now_s : looks(made, dice)) {
      const double next_look_s = plan_of(made, now_s).next_look_s;
      for (const double moment_s : moments(made)) {
        EXPECT_TRUE(moment_s <= now_s || next_look_s <= moment_s) << moment_s;
      }
    }
  });
}

TEST(PlanProperties, StaysTheSameUntilTheNextLook) {
  for_every_case([](const Case& made, Dice& dice) {
    for (const double now_s : looks(made, dice)) {
      const Plan now = plan_of(made, now_s);
      EXPECT_EQ(now, plan_of(made, now_s));
      const double last_s = std::min(now.next_look_s, 2 * kEnd);
      for (int i = 0; i < 4; ++i) {
        const double later_s = now_s + (last_s - now_s) * dice.number(1) * 0.999999;
        EXPECT_EQ(now, plan_of(made, later_s)) << now_s << " and " << later_s;
      }
    }
  });
}

TEST(PlanProperties, AFreshWorldIsNotDrainedWithoutNews) {
  for_every_case([](const Case& made, Dice& dice) {
    for (const double now_s : looks(made, dice)) {
      const Plan fresh = plan_of(made, now_s);
      double news_s = std::min(fresh.drain_at_s, 2 * kEnd);
      for (const double moment_s : moments(made)) {
        if (moment_s > now_s) news_s = std::min(news_s, moment_s);
      }
      for (int i = 0; i < 4; ++i) {
        const double later_s = now_s + (news_s - now_s) * dice.number(1) * 0.999999;
        const auto reason = reason_to_drain(fresh.hosts, fresh.layout, plan_of(made, later_s),
                                            made.calendar, made.limits, made.times, later_s);
        EXPECT_EQ(reason, std::nullopt) << now_s << " and " << later_s;
      }
    }
  });
}

TEST(PlanProperties, AWorldIsDrainedInTime) {
  for_every_case([](const Case& made, Dice& dice) {
    for (const double now_s : looks(made, dice)) {
      const Plan fresh = plan_of(made, now_s);
      if (fresh.drain_at_s == kNever) continue;
      const DrainTime drain =
          drain_time(fresh.hosts, made.calendar, made.limits, made.times, now_s);
      EXPECT_EQ(drain.at_s, fresh.drain_at_s);
      EXPECT_NE(reason_to_drain(fresh.hosts, fresh.layout, plan_of(made, drain.at_s), made.calendar,
                                made.limits, made.times, drain.at_s),
                std::nullopt);
    }
  });
}

// Runs through a calendar as the supervisor does, and counts generations.
struct Life {
  int64_t num_generations = 0;
  int64_t num_gains = 0;  // drained although no time was over
};

void live(const Case& made, Life& life) {
  const double restart_s = start_s(made) + known(made.times.save_s, 2, made);
  std::vector<PlannedHost> running;
  double now_s = 0;
  while (now_s < 2 * kEnd) {
    const Plan wanted = plan_of(made, now_s);
    if (!running.empty()) {
      const DrainTime drain = drain_time(running, made.calendar, made.limits, made.times, now_s);
      const auto reason =
          reason_to_drain(running, {}, wanted, made.calendar, made.limits, made.times, now_s);
      if (!reason) {
        now_s = std::min({wanted.next_look_s, std::max(now_s, drain.at_s), 2 * kEnd});
        continue;
      }
      if (now_s < drain.at_s) {
        ++life.num_gains;
        int64_t world = 0;
        for (const PlannedHost& host : running) world += host.slots;
        EXPECT_GT(wanted.world, world);
        EXPECT_GT(wanted.drain_at_s - now_s, restart_s);
      }
      running.clear();
      now_s += known(made.times.save_s, 2, made) + 1e-3;
      continue;
    }
    if (wanted.hosts.empty()) {
      now_s = wanted.next_look_s;
      continue;
    }
    ++life.num_generations;
    ASSERT_LT(life.num_generations, 1000) << "the world flaps";
    running = wanted.hosts;
    now_s += start_s(made) + 1e-3;
  }
}

TEST(PlanProperties, GenerationsAreFewerThanChanges) {
  int64_t num_gains = 0;
  for_every_case([&](const Case& made, Dice&) {
    Life life;
    live(made, life);
    // Each generation begins because of an event in the calendar: a host came, or its end came.
    EXPECT_LE(life.num_generations, static_cast<int64_t>(moments(made).size()) + 1);
    num_gains += life.num_gains;
  });
  EXPECT_GT(num_gains, 100);
}

// Returns the progress of a plan by its definition: this option now, then the best of those before
// it.
double best_progress(std::span<const WorldOption> options, size_t option, double trains_from_s,
                     double restart_s, double last_s) {
  const double drain_s = std::min(options[option].drain_at_s, last_s);
  double afterwards = 0;
  for (size_t next = 0; next < option; ++next) {
    afterwards =
        std::max(afterwards, best_progress(options, next, drain_s + restart_s, restart_s, last_s));
  }
  return static_cast<double>(options[option].world) * std::max(0.0, drain_s - trains_from_s) +
         afterwards;
}

TEST(ChooseWorld, MakesTheMostProgress) {
  std::vector<int64_t> chosen(6);
  for (uint32_t seed = 1; seed <= kCases; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    Dice dice(seed);
    const double start_s = dice.number(10);
    const double restart_s = start_s + dice.number(10);
    std::vector<WorldOption> options(static_cast<size_t>(dice.whole(1, 6)));
    double drain_s = start_s + 0.5 + dice.number(60);  // all options can start at 0
    int64_t world = 1000;
    for (size_t i = options.size(); i-- > 0;) {
      options[i] = {world, drain_s};
      drain_s += 0.5 + dice.number(100);
      world -= dice.whole(1, 190);
    }
    const double last_s = options[0].drain_at_s;
    const WorldChoice choice = choose_world(options, start_s, restart_s, 0);
    ++chosen[choice.option];
    EXPECT_GT(choice.holds_until_s, 0);
    const double best = best_progress(options, choice.option, start_s, restart_s, last_s);
    for (size_t i = 0; i < options.size(); ++i) {
      EXPECT_GE(best, best_progress(options, i, start_s, restart_s, last_s) - 1e-6) << i;
    }
  }
  for (const int64_t times : chosen)
    EXPECT_GT(times, 10) << fmt::format("{}", fmt::join(chosen, " "));
}

TEST(ChooseWorld, AWorldThatNeverDrainsIsWorthAsMuchAsALongOne) {
  for (const double end_s : {34.0, 34.5}) {
    const std::vector<WorldOption> options = {{1, kNever}, {2, end_s - 10}};
    EXPECT_EQ(choose_world(options, 10, 14, 0).option, end_s > 34 ? 1u : 0u);
  }
}

}  // namespace
}  // namespace leasehold
