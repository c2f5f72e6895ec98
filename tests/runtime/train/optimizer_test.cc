#include "runtime/train/optimizer.h"

#include <cmath>
#include <gtest/gtest.h>

namespace leasehold {
namespace {

const OptimizerOptions kOptions{
    .lr = 1e-3, .min_lr = 1e-4, .warmup_steps = 10, .weight_decay = 0.1, .grad_clip = 2.0};

TEST(LearningRate, WarmsUpLinearlyAndReachesThePeak) {
  EXPECT_DOUBLE_EQ(learning_rate(kOptions, 0, 100), 1e-4);
  EXPECT_DOUBLE_EQ(learning_rate(kOptions, 4, 100), 5e-4);
  EXPECT_DOUBLE_EQ(learning_rate(kOptions, 9, 100), 1e-3);
}

TEST(LearningRate, FallsAsACosine) {
  EXPECT_DOUBLE_EQ(learning_rate(kOptions, 10, 110), 1e-3);
  EXPECT_DOUBLE_EQ(learning_rate(kOptions, 60, 110), (1e-3 + 1e-4) / 2);
  EXPECT_DOUBLE_EQ(learning_rate(kOptions, 110, 110), 1e-4);
  EXPECT_DOUBLE_EQ(learning_rate(kOptions, 500, 110), 1e-4);
  for (int step = 11; step < 110; ++step) {
    EXPECT_LT(learning_rate(kOptions, step, 110), learning_rate(kOptions, step - 1, 110));
  }
}

TEST(LearningRate, StaysAtThePeakWhenTheRunIsAllWarmUp) {
  EXPECT_DOUBLE_EQ(learning_rate(kOptions, 12, 10), 1e-3);
}

TEST(ClipFactor, ScalesDownOnly) {
  EXPECT_DOUBLE_EQ(clip_factor(kOptions, 0.5), 1.0);
  EXPECT_NEAR(clip_factor(kOptions, 4.0), 0.5, 1e-6);
  EXPECT_DOUBLE_EQ(clip_factor({.grad_clip = 0}, 1e9), 1.0);
}

TEST(AdamW, RefusesGradientsWhoseSquareOverflows) {
  const OptimizerOptions unclipped{.grad_clip = 0};
  EXPECT_TRUE(is_usable(unclipped, 1e19));
  EXPECT_FALSE(is_usable(unclipped, 2e19));
  EXPECT_FALSE(is_usable(unclipped, std::nan("")));
  EXPECT_FALSE(is_usable(unclipped, HUGE_VAL));
  EXPECT_TRUE(is_usable(kOptions, 2e19)) << "clipped to 2";
}

TEST(AdamW, CorrectsBiasByTheNumberOfStepsAndDecaysWhatItShould) {
  const AdamWStep first = adamw_step(kOptions, 1e-3, 0, true, 0.125, 0.5);
  EXPECT_NEAR(first.correction1, 0.1, 1e-7);
  EXPECT_NEAR(first.correction2, 0.05, 1e-7);
  EXPECT_NEAR(first.weight_decay, 0.1, 1e-8);
  EXPECT_NEAR(first.gradient_scale, 0.125, 0);
  EXPECT_NEAR(first.clip_scale, 0.5, 0);
  EXPECT_EQ(adamw_step(kOptions, 1e-3, 0, false, 1, 1).weight_decay, 0);
  EXPECT_NEAR(adamw_step(kOptions, 1e-3, 99, true, 1, 1).correction1, 1 - std::pow(0.9, 100), 1e-7);
}

}  // namespace
}  // namespace leasehold
