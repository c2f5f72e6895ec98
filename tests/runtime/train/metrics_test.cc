#include "runtime/train/metrics.h"

#include <gtest/gtest.h>
#include <limits>

#include "runtime/checkpoint/json_lines.h"

namespace leasehold {
namespace {

TEST(MetricsLine, KeepsEveryBitOfTheNumbers) {
  const StepMetrics metrics{.step = 3,
                            .tokens = 4096,
                            .loss = 0.1 + 0.2,
                            .grad_norm = 1.0 / 3,
                            .lr = 3e-4,
                            .step_time_s = 0.5,
                            .tokens_per_s = 8192,
                            .world_size = 2,
                            .generation = 4};
  EXPECT_EQ(metrics_line(metrics),
            "{\"step\": 3, \"tokens\": 4096, \"loss\": 0.30000000000000004, \"grad_norm\": "
            "0.33333333333333331, "
            "\"lr\": 0.00029999999999999997, \"step_time_s\": 0.5, \"tokens_per_s\": 8192, "
            "\"world_size\": 2, "
            "\"generation\": 4}");
  const std::string line = with_validation_loss(metrics_line(metrics), 0.1);
  EXPECT_NE(line.find(", \"generation\": 4, \"validation_loss\": 0.10000000000000001}"),
            std::string::npos)
      << line;
}

// JSON has no NaN: null is read by pandas as NaN and by jq as null.
TEST(MetricsLine, WhatIsNotFiniteIsNull) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinity = std::numeric_limits<double>::infinity();
  const std::string line = with_validation_loss(
      metrics_line({.step = 3, .loss = nan, .grad_norm = -infinity, .num_skipped = 2}), infinity);
  EXPECT_TRUE(is_json_object(line)) << line;
  for (const char* name : {"loss", "grad_norm", "validation_loss"})
    EXPECT_EQ(member_text(line, name), "null") << line;
  EXPECT_EQ(member_text(line, "skipped"), "2");
  EXPECT_FALSE(member_text(metrics_line({.step = 3}), "skipped"));
}

}  // namespace
}  // namespace leasehold
