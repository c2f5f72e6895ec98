#include "runtime/tensor/shape.h"

#include <array>
#include <gtest/gtest.h>

#include "runtime/base/status.h"

namespace leasehold {

TEST(Shape, CountsElementsInSixtyFourBits) {
  EXPECT_EQ(Shape().num_elements(), 1);
  EXPECT_EQ(Shape({3, 4, 5}).num_elements(), 60);
  EXPECT_EQ(Shape({3, 0, 5}).num_elements(), 0);
  EXPECT_EQ(Shape({1 << 20, 1 << 20}).num_elements(), int64_t{1} << 40);
}

TEST(Shape, IsEqualWhenAllExtentsAre) {
  EXPECT_EQ(Shape({2, 3}), Shape({2, 3}));
  EXPECT_FALSE(Shape({2, 3}) == Shape({3, 2}));
  EXPECT_FALSE(Shape({2, 3}) == Shape({2, 3, 1}));
  EXPECT_FALSE(Shape({1}) == Shape());
}

TEST(Shape, TellsItsExtents) {
  const std::array<int64_t, 5> extents = {1, 2, 3, 4, 5};
  const Shape shape{std::span<const int64_t>(extents)};
  EXPECT_EQ(shape.num_dims(), 5);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(shape[i], i + 1);
  EXPECT_EQ(shape.to_string(), "(1, 2, 3, 4, 5)");
  EXPECT_EQ(Shape().to_string(), "()");
}

TEST(Shape, RefusesSixDimsAndNegativeExtents) {
  EXPECT_THROW(Shape({1, 1, 1, 1, 1, 1}), StatusError);
  EXPECT_THROW(Shape({3, -1}), StatusError);
}

}  // namespace leasehold
