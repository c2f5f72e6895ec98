#include "launch/plan/calibration.h"

#include <cmath>
#include <gtest/gtest.h>

namespace leasehold {
namespace {

TEST(Calibration, WithoutRowsTheModelStands) {
  const Calibration none({});
  const Expectation known = none.expect(2, "a", "H100", Precision::kBf16);
  EXPECT_DOUBLE_EQ(known.seconds, 2);
  EXPECT_LT(known.low_s, 2);
  EXPECT_GT(known.high_s, 2);
  const Expectation unknown = none.expect(2, "a", "B200", Precision::kBf16);
  EXPECT_GT(unknown.high_s, known.high_s);
}

TEST(Calibration, TheNearestRowsCount) {
  const double ratio = std::log(1.1);
  const Calibration calibration({{"a", "B200", Precision::kBf16, ratio},
                                 {"b", "B200", Precision::kBf16, 3 * ratio},
                                 {"b", "B200", Precision::kFp8, -ratio}});
  const auto factor = [&](const char* source, const char* part, Precision precision) {
    return std::log(calibration.expect(1, source, part, precision).seconds) / ratio;
  };
  EXPECT_NEAR(factor("a", "B200", Precision::kBf16), 1 / 1.4, 1e-9);
  EXPECT_NEAR(factor("c", "B200", Precision::kBf16), 4 / 2.4, 1e-9);
  EXPECT_NEAR(factor("c", "B200", Precision::kFp4), 3 / 3.4, 1e-9);
  EXPECT_NEAR(factor("a", "H200", Precision::kBf16), 0, 1e-9);
}

}  // namespace
}  // namespace leasehold
