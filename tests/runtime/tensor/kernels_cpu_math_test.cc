#include "runtime/tensor/kernels_cpu_math.h"

#include <cmath>
#include <gtest/gtest.h>
#include <limits>
#include <numeric>
#include <vector>

#include "runtime/tensor/kernels_cpu_dropout.h"
#include "tests/runtime/tensor/plain_dropout.h"

namespace leasehold::cpu {

namespace {

// |value - exact| in units of the last place of `exact` with `bits` of mantissa.
double ulps(double value, double exact, int bits) {
  return std::abs(value - exact) / std::ldexp(1.0, std::ilogb(exact) - bits + 1);
}

TEST(CpuMath, ExponentialIsWithinItsStatedError) {
  double worst = 0;
  for (uint32_t bits = 0; bits < 0xFF800000; bits += 1013) {
    const auto x = std::bit_cast<float>(bits);
    if (!(x >= -87.33F && x <= 88.02F)) continue;
    worst = std::max(worst, ulps(exp_f32(x), std::exp(static_cast<double>(x)), 24));
  }
  EXPECT_LT(worst, 1.01);
  EXPECT_EQ(exp_f32(0.0F), 1.0F);
  EXPECT_EQ(exp_f32(-87.34F), 0.0F);
  EXPECT_EQ(exp_f32(-HUGE_VALF), 0.0F);
  EXPECT_GT(exp_f32(HUGE_VALF), 1.6e38F);
  EXPECT_TRUE(std::isnan(exp_f32(std::nanf(""))));
}

// Around both ends of the range, where the integers in it wrap (below -8.7e6), and at the ends of
// fp32. Numbers that a compiler does not see, and a loop that it makes vector code of.
TEST(CpuMath, ExponentialOutsideOfItsRangeIsDefined) {
  const std::vector<float> low = {-HUGE_VALF, -std::numeric_limits<float>::max(),
                                  -1e30F,     -3.3e7F,
                                  -1.75e7F,   -1.74e7F,
                                  -1.73e7F,   -1e7F,
                                  -8.8e6F,    -8.7e6F,
                                  -1e4F,      -88.0F,
                                  -87.34F};
  const std::vector<float> high = {88.03F,   89.0F,  1e4F,  8.7e6F,
                                   1.75e7F,  3.3e7F, 1e30F, std::numeric_limits<float>::max(),
                                   HUGE_VALF};
  for (const auto& [values, expected] : {std::pair{low, 0.0F}, std::pair{high, 0x1.fap126F}}) {
    std::vector<float> results(values.size());
    for (size_t i = 0; i < values.size(); ++i) results[i] = exp_f32(values[i]);
    for (size_t i = 0; i < values.size(); ++i) {
      volatile float alone = values[i];
      EXPECT_EQ(results[i], expected) << values[i];
      EXPECT_EQ(exp_f32(alone), expected) << values[i];
    }
  }
}

TEST(CpuMath, LogarithmIsWithinItsStatedError) {
  double worst = 0;
  for (double x = 1e-300; x < 1e300; x *= 1.0037)
    worst = std::max(worst, ulps(log_f64(x), std::log(x), 53));
  for (double x = 0.5; x < 2; x += 1.37e-5)
    worst = std::max(worst, ulps(log_f64(x), std::log(x), 53));
  EXPECT_LE(worst, 1.5);  // std::log itself is half a unit off
  EXPECT_EQ(log_f64(1.0), 0.0);
  EXPECT_EQ(log_f64(0.0), -HUGE_VAL);
  EXPECT_EQ(log_f64(HUGE_VAL), HUGE_VAL);
  EXPECT_TRUE(std::isnan(log_f64(-1.0)));
  EXPECT_TRUE(std::isnan(log_f64(std::nan(""))));
}

TEST(CpuMath, GeluAndItsDerivativeAgreeWithTheFormula) {
  const double root = std::sqrt(2 / 3.14159265358979323846);
  for (double at = -12; at < 12; at += 1.7e-3) {
    const double x = static_cast<float>(at);
    const double u = root * (x + 0.044715 * x * x * x);
    const double tanh = std::tanh(u);
    const double derivative =
        0.5 * (1 + tanh) + 0.5 * x * (1 - tanh * tanh) * root * (1 + 3 * 0.044715 * x * x);
    EXPECT_NEAR(gelu(static_cast<float>(x)), 0.5 * x * (1 + tanh),
                4e-7 * std::max(1.0, std::abs(x)));
    EXPECT_NEAR(gelu_derivative(static_cast<float>(x)), derivative, 1e-6);
  }
  EXPECT_EQ(gelu(100.0F), 100.0F);
  EXPECT_NEAR(gelu(-100.0F), 0.0, 1e-29);
  EXPECT_NEAR(gelu_derivative(1000.0F), 1.0, 1e-6);
  EXPECT_NEAR(gelu_derivative(-1000.0F), 0.0, 1e-29);
}

TEST(CpuMath, SiluAndItsDerivativeAgreeWithTheFormula) {
  for (double at = -30; at < 30; at += 3.7e-3) {
    const double x = static_cast<float>(at);
    const double sigmoid = 1 / (1 + std::exp(-x));
    EXPECT_NEAR(silu(static_cast<float>(x)), x * sigmoid, 3e-7 * std::abs(x * sigmoid) + 1e-30);
    EXPECT_NEAR(silu_derivative(static_cast<float>(x)), sigmoid * (1 + x * (1 - sigmoid)), 1e-6);
  }
  EXPECT_EQ(silu(100.0F), 100.0F);
  EXPECT_NEAR(silu(-100.0F), 0.0, 1e-35);
  EXPECT_EQ(silu_derivative(1000.0F), 1.0F);
  EXPECT_NEAR(silu_derivative(-1000.0F), 0.0, 1e-29);
}

// The vector body, the scalar tail and a single call: the same bits at every length and offset.
TEST(CpuMath, LoopsAndTailsGiveTheSameBits) {
  std::vector<float> x(131);
  for (size_t i = 0; i < x.size(); ++i) x[i] = 0.171F * static_cast<float>(i) - 11.0F;
  std::vector<float> one_by_one;
  for (const float value : x) {
    volatile float alone = value;
    one_by_one.push_back(gelu(alone) + exp_f32(alone) + gelu_derivative(alone) + silu(alone) +
                         silu_derivative(alone));
  }
  for (size_t begin = 0; begin < 9; ++begin) {
    for (size_t end = begin + 1; end <= x.size(); ++end) {
      std::vector<float> y(end - begin);
      for (size_t i = 0; i < y.size(); ++i) {
        y[i] = gelu(x[begin + i]) + exp_f32(x[begin + i]) + gelu_derivative(x[begin + i]) +
               silu(x[begin + i]) + silu_derivative(x[begin + i]);
      }
      for (size_t i = 0; i < y.size(); ++i) {
        ASSERT_EQ(std::bit_cast<uint32_t>(y[i]), std::bit_cast<uint32_t>(one_by_one[begin + i]));
      }
    }
  }
}

TEST(CpuMath, LaneSumsAndMaximaHaveEveryElementOnce) {
  std::vector<float> x(300);
  std::iota(x.begin(), x.end(), 1.0F);
  for (int64_t count = 0; count <= 300; ++count) {
    const auto element = [&](int64_t i) { return x[static_cast<size_t>(i)]; };
    const int64_t sum = count * (count + 1) / 2;
    EXPECT_EQ(lane_sum<float>(count, element), static_cast<float>(sum));
    EXPECT_EQ(lane_sum<double>(count, element), static_cast<double>(sum));
    if (count == 0) continue;
    EXPECT_EQ(lane_max(count, element), static_cast<float>(count));
    EXPECT_EQ(lane_max(count, [&](int64_t i) { return -element(i); }), -1.0F);
  }
}

TEST(CpuDropout, FactorsAreThoseOfTheSite) {
  const RandomSite site = RandomSite::make(5, "dropout", 11, 2);
  for (const int64_t first_element : {int64_t{0}, int64_t{1}, int64_t{6}, (int64_t{1} << 34) + 3}) {
    const Dropout dropout{0.3F, site, first_element};
    for (const int64_t first : {0, 5}) {
      for (const int64_t count : {int64_t{1}, int64_t{3}, int64_t{33}, kDropoutBlock}) {
        std::vector<float> factors(static_cast<size_t>(count));
        dropout_factors(dropout, first, count, factors.data());
        std::vector<float> plain(static_cast<size_t>(count));
        plain_dropout_factors(dropout, first, count, plain.data());
        EXPECT_EQ(plain, factors);
        for (int64_t i = 0; i < count; ++i) {
          const bool dropped =
              site.uniform(static_cast<uint64_t>(first_element + first + i)) < 0.3F;
          ASSERT_EQ(factors[static_cast<size_t>(i)], dropped ? 0.0F : 1.0F / (1.0F - 0.3F));
        }
      }
    }
  }
}

}  // namespace

}  // namespace leasehold::cpu
