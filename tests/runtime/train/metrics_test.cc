#include "runtime/train/metrics.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace leasehold
