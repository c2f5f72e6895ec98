#include "launch/choose_token.h"

#include <cmath>
#include <gtest/gtest.h>
#include <set>
#include <vector>

namespace leasehold {
namespace {

// Returns the tokens that can be drawn.
std::set<int32_t> drawn(const std::vector<float>& logits, const TokenChoice& choice) {
  std::set<int32_t> ids;
  for (int i = 0; i < 1000; ++i) ids.insert(choose_token(logits, choice, i / 1000.0));
  return ids;
}

// Returns logits whose softmax at temperature 1 is `probabilities`.
std::vector<float> of(const std::vector<double>& probabilities) {
  std::vector<float> logits;
  for (const double p : probabilities) logits.push_back(static_cast<float>(std::log(p)));
  return logits;
}

TEST(ChooseToken, TemperatureZeroTakesTheLikeliest) {
  EXPECT_EQ(choose_token(of({0.2, 0.5, 0.3}), {.temperature = 0}, 0.99), 1);
  EXPECT_EQ(choose_token(of({0.4, 0.2, 0.4}), {.temperature = 0}, 0.99), 0);  // the smaller id
}

TEST(ChooseToken, DrawsByProbabilityLikeliestFirst) {
  const std::vector<float> logits = of({0.2, 0.5, 0.3});
  const TokenChoice choice = {.temperature = 1};
  EXPECT_EQ(choose_token(logits, choice, 0.0), 1);
  EXPECT_EQ(choose_token(logits, choice, 0.49), 1);
  EXPECT_EQ(choose_token(logits, choice, 0.51), 2);
  EXPECT_EQ(choose_token(logits, choice, 0.79), 2);
  EXPECT_EQ(choose_token(logits, choice, 0.81), 0);
  EXPECT_EQ(choose_token(logits, choice, 1 - 1e-16), 0);
  // Half the temperature squares the probabilities: 25 : 9 : 4.
  EXPECT_EQ(choose_token(logits, {.temperature = 0.5}, 24.9 / 38), 1);
  EXPECT_EQ(choose_token(logits, {.temperature = 0.5}, 25.1 / 38), 2);
}

TEST(ChooseToken, TopKKeepsTheLikeliest) {
  const std::vector<float> logits = of({0.1, 0.4, 0.2, 0.2, 0.1});
  EXPECT_EQ(drawn(logits, {.temperature = 1, .top_k = 1}), (std::set<int32_t>{1}));
  EXPECT_EQ(drawn(logits, {.temperature = 1, .top_k = 2}), (std::set<int32_t>{1, 2}));  // a tie
  EXPECT_EQ(drawn(logits, {.temperature = 1, .top_k = 99}).size(), 5U);
  EXPECT_EQ(drawn(logits, {.temperature = 1}).size(), 5U);
}

TEST(ChooseToken, TopPKeepsTheFewestThatComeToIt) {
  const std::vector<float> logits = of({0.1, 0.4, 0.2, 0.2, 0.1});
  const auto nucleus = [&](double top_p) {
    return drawn(logits, {.temperature = 1, .top_p = top_p});
  };
  EXPECT_EQ(nucleus(1e-9), (std::set<int32_t>{1}));
  EXPECT_EQ(nucleus(0.39), (std::set<int32_t>{1}));
  EXPECT_EQ(nucleus(0.5), (std::set<int32_t>{1, 2}));  // the smaller id of a tie
  EXPECT_EQ(nucleus(0.7), (std::set<int32_t>{1, 2, 3}));
  EXPECT_EQ(nucleus(0.85), (std::set<int32_t>{0, 1, 2, 3}));
  EXPECT_EQ(nucleus(1).size(), 5U);
  // The tokens left are drawn by their own probabilities: 2/3 and 1/3.
  EXPECT_EQ(choose_token(logits, {.temperature = 1, .top_p = 0.5}, 0.66), 1);
  EXPECT_EQ(choose_token(logits, {.temperature = 1, .top_p = 0.5}, 0.67), 2);
}

// The share is of the four likeliest tokens, not of all: 0.8 of these is a smaller share of all.
TEST(ChooseToken, TopPIsOfWhatTopKLeft) {
  const std::vector<float> logits = of({0.25, 0.25, 0.125, 0.125, 0.125, 0.125});
  EXPECT_EQ(drawn(logits, {.temperature = 1, .top_k = 4, .top_p = 0.8}),
            (std::set<int32_t>{0, 1, 2}));
  EXPECT_EQ(drawn(logits, {.temperature = 1, .top_p = 0.8}), (std::set<int32_t>{0, 1, 2, 3, 4}));
}

}  // namespace
}  // namespace leasehold
