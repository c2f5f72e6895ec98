#include "runtime/base/half_floats.h"

#include <cmath>
#include <gtest/gtest.h>
#include <limits>

namespace leasehold {
namespace {

TEST(HalfFloats, EveryBf16ComesBackBitByBit) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    ASSERT_EQ(float_to_bf16(bf16_to_float(half)), half) << bits;
  }
  EXPECT_EQ(bf16_to_float(0x3f80), 1.0F);
  EXPECT_EQ(bf16_to_float(0xc0a0), -5.0F);
}

TEST(HalfFloats, Bf16RoundsToTheNearestAndTiesToEven) {
  // Between neighbours a < b the distance decides; in the middle the one whose last bit is 0 wins.
  for (uint32_t bits = 0; bits < 0x7f80; ++bits) {
    const float a = bf16_to_float(static_cast<uint16_t>(bits));
    const auto at = [&](uint32_t low) {
      return float_to_bf16(std::bit_cast<float>(std::bit_cast<uint32_t>(a) | low));
    };
    ASSERT_EQ(at(0x7fff), bits);
    ASSERT_EQ(at(0x8000), bits + (bits & 1));
    ASSERT_EQ(at(0x8001), bits + 1);
    ASSERT_EQ(at(0xffff), bits + 1);
  }
  EXPECT_EQ(float_to_bf16(std::numeric_limits<float>::max()), 0x7f80);  // infinity
  for (const uint32_t nan : {0x7f800001U, 0xff80ffffU, 0x7fffffffU}) {
    EXPECT_TRUE(std::isnan(bf16_to_float(float_to_bf16(std::bit_cast<float>(nan)))));
  }
}

TEST(HalfFloats, F16IsWhatItsDefinitionSays) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const uint32_t exponent = bits >> 10 & 31, fraction = bits & 1023;
    const float value = f16_to_float(static_cast<uint16_t>(bits));
    ASSERT_EQ(std::signbit(value), bits >= 0x8000) << bits;
    if (exponent == 31) {
      ASSERT_EQ(std::isinf(value), fraction == 0) << bits;
      ASSERT_EQ(std::isnan(value), fraction != 0) << bits;
      continue;
    }
    const double expected = exponent == 0
                                ? std::ldexp(fraction, -24)
                                : std::ldexp(1024 + fraction, static_cast<int>(exponent) - 25);
    ASSERT_EQ(std::fabs(value), expected) << bits;
  }
}

}  // namespace
}  // namespace leasehold
