#include "launch/plan/goodput.h"

#include <cmath>
#include <gtest/gtest.h>
#include <random>

namespace leasehold {
namespace {

constexpr double kDay = 86400;

TEST(Goodput, RatesAreOfNodes) {
  EXPECT_DOUBLE_EQ(FailureModel{}.rate(8), 4 / (1000 * kDay));
  // Llama 3: 419 failures of 16384 GPUs in 54 days.
  const FailureModel llama{.failures_of_node = 3.79};
  EXPECT_NEAR(llama.rate(16384) * 54 * kDay, 419, 1);
}

TEST(Goodput, RareFailuresCostWhatTheLinearFormSays) {
  const FailureCost cost{.restart_s = 300, .interval_s = 600};
  const double rate = FailureModel{}.rate(1024);
  EXPECT_NEAR(goodput(rate, cost), 1 - rate * (300 + 300), 1e-3);
  EXPECT_EQ(goodput(0, cost), 1);
}

// Draws failures one by one: a state is kept every interval, restarts may fail, too.
TEST(Goodput, AgreesWithDrawnFailures) {
  const FailureCost cost{.restart_s = 600, .interval_s = 900};
  for (const double rate : {1 / 1e5, 1 / 1e4, 1 / 3e3}) {
    std::mt19937_64 random(7);
    std::exponential_distribution<double> until_failure(rate);
    double useful_s = 0;
    double now_s = 0;
    for (int failure = 0; failure < 200000; ++failure) {
      double left_s = until_failure(random);
      now_s += left_s;
      if (failure > 0) left_s -= cost.restart_s;
      if (left_s <= 0) continue;
      useful_s += std::floor(left_s / cost.interval_s) * cost.interval_s;
    }
    const double drawn = useful_s / now_s;
    EXPECT_NEAR(goodput(rate, cost) / drawn, 1, 0.02) << rate;
  }
}

TEST(Goodput, TheBestIntervalCostsLeast) {
  const double rate = 1 / 2e4;
  const double save_s = 60;
  const auto cost = [&](double interval_s) { return save_s / interval_s + rate * interval_s / 2; };
  const double best_s = best_interval_s(rate, save_s);
  EXPECT_NEAR(best_s, std::sqrt(2 * 60 * 2e4), 1e-9);
  EXPECT_LT(cost(best_s), cost(0.8 * best_s));
  EXPECT_LT(cost(best_s), cost(1.25 * best_s));
}

}  // namespace
}  // namespace leasehold
