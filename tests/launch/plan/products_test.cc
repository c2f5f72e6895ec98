#include "launch/plan/products.h"

#include <gtest/gtest.h>

namespace leasehold {
namespace {

TEST(Products, AWaveThatIsNotFullCosts) {
  EXPECT_DOUBLE_EQ(wave_share(1280, 1280, 128, 128, 100), 1);
  // 101 tiles of 100 units take two waves.
  EXPECT_NEAR(wave_share(128, 128 * 101, 128, 128, 100), 101.0 / 200, 1e-12);
  EXPECT_DOUBLE_EQ(wave_share(64, 128, 128, 128, 1), 0.5);
}

// deepseek-ai/DeepGEMM#81, H800, FP8: TFLOP/s by K. The model is of a step, so shares are compared.
TEST(Products, ShortSumsAreSlower) {
  const Hardware h100 = shipped_hardware("H100").value();
  const StepMethod method;
  const auto rate = [&](int64_t k) {
    const ProductShape shape{.m = 8192, .n = 8448, .k = k};
    return 2.0 * 8192 * 8448 * static_cast<double>(k) /
           product_s(shape, Precision::kFp8, h100, method);
  };
  EXPECT_NEAR(rate(512) / rate(7168), 801.0 / 1340, 0.05);
  EXPECT_NEAR(rate(2048) / rate(7168), 1185.0 / 1340, 0.05);
  EXPECT_NEAR(rate(16384) / rate(7168), 1475.0 / 1340, 0.07);
  EXPECT_LT(rate(16384), h100.products[Precision::kFp8]);
}

TEST(Products, SmallOnesAreBoundByMemory) {
  const Hardware h100 = shipped_hardware("H100").value();
  const double seconds = product_s({1, 65536, 65536}, Precision::kBf16, h100, {});
  EXPECT_GE(seconds, 65536.0 * 65536 * 2 / h100.memory_bytes_s);
}

TEST(Products, BackwardIsTwoProducts) {
  const Hardware a100 = shipped_hardware("a100").value();
  const LinearTime time = linear_s(8192, 8192, 8192, Precision::kBf16, a100, {});
  EXPECT_NEAR(time.backward_s / time.forward_s, 2, 1e-9);
}

}  // namespace
}  // namespace leasehold
