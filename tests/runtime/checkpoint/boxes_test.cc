#include "runtime/checkpoint/boxes.h"

#include <gtest/gtest.h>

namespace leasehold {
namespace {

Box box(std::array<int64_t, Shape::kMaxDims> offset, Shape extent) { return {offset, extent}; }

TEST(Boxes, IntersectGivesWhatBothHold) {
  const auto shared = intersect(box({0, 4}, {4, 4}), box({2, 0}, {4, 6}));
  ASSERT_TRUE(shared);
  EXPECT_EQ(*shared, box({2, 4}, {2, 2}));
  EXPECT_FALSE(intersect(box({0, 0}, {2, 8}), box({2, 0}, {2, 8})));
  EXPECT_TRUE(intersect(Box::whole({}), Box::whole({})));  // the scalar
}

TEST(Boxes, InsideRefusesWhatLeavesTheShape) {
  const Shape global = {4, 6};
  EXPECT_TRUE(check_inside(box({2, 3}, {2, 3}), global).ok());
  EXPECT_EQ(check_inside(box({2, 4}, {2, 3}), global).code(), Code::kBadData);
  EXPECT_EQ(check_inside(box({-1, 0}, {2, 3}), global).code(), Code::kBadData);
  EXPECT_EQ(check_inside(box({INT64_MAX, 0}, {2, 3}), global).code(), Code::kBadData);
  EXPECT_EQ(check_inside(box({0}, {4}), global).code(), Code::kBadData);
  EXPECT_TRUE(check_inside(BoxRange{box({2, 3}, {2, 3}), 0, 6}, global).ok());
  EXPECT_EQ(check_inside(BoxRange{box({2, 3}, {2, 3}), 0, 7}, global).code(), Code::kBadData);
  EXPECT_EQ(check_inside(BoxRange{box({2, 3}, {2, 3}), 3, 2}, global).code(), Code::kBadData);
  EXPECT_EQ(check_inside(BoxRange{box({2, 3}, {2, 3}), -1, 2}, global).code(), Code::kBadData);
}

TEST(Boxes, CheckedShapeRefusesOverflowAndNonsense) {
  const std::vector<int64_t> fits = {int64_t{1} << 30, int64_t{1} << 30};
  EXPECT_EQ(checked_shape(fits, 4).value().num_elements(), int64_t{1} << 60);
  EXPECT_EQ(checked_shape(fits, 8).status().code(), Code::kBadData);
  for (const std::vector<int64_t>& bad :
       std::vector<std::vector<int64_t>>{{int64_t{1} << 32, int64_t{1} << 32},
                                         {3, -1},
                                         {0},
                                         {INT64_MAX, 0},
                                         {1, 1, 1, 1, 1, 1}}) {
    EXPECT_EQ(checked_shape(bad, 4).status().code(), Code::kBadData) << fmt::format("{}", bad[0]);
  }
}

TEST(Boxes, CoverAcceptsAnyExactPartition) {
  const Shape global = {4, 6};
  const Box left = box({0, 0}, {4, 3});
  const Box right = box({0, 3}, {4, 3});
  EXPECT_TRUE(
      check_cover(global, std::vector<BoxRange>{{right, 5, 12}, {left, 0, 12}, {right, 0, 5}})
          .ok());
  EXPECT_TRUE(check_cover({}, std::vector<BoxRange>{{Box::whole({}), 0, 1}}).ok());
}

TEST(Boxes, CoverNamesOverlapAndHole) {
  const Shape global = {4, 6};
  const Box left = box({0, 0}, {4, 3});
  const Box right = box({0, 3}, {4, 3});
  const auto message = [&](const std::vector<BoxRange>& parts) {
    const Status status = check_cover(global, parts);
    EXPECT_EQ(status.code(), Code::kBadData);
    return status.message();
  };
  EXPECT_NE(message({{left, 0, 12}, {right, 0, 5}}).find("7 of 24 elements"), std::string::npos);
  EXPECT_NE(message({{left, 0, 12}, {right, 0, 6}, {right, 5, 11}}).find("overlap"),
            std::string::npos);
  EXPECT_NE(message({{left, 0, 12}, {box({0, 2}, {4, 3}), 0, 12}}).find("overlaps box"),
            std::string::npos);
  EXPECT_NE(message({{left, 0, 12}, {right, 0, 12}, {Box::whole(global), 0, 1}}).find("more than"),
            std::string::npos);
  EXPECT_NE(message({}).find("24 of 24"), std::string::npos);
}

TEST(Boxes, CoverRefusesTooManyBoxes) {
  const Shape global = {2 * kMaxBoxes};
  std::vector<BoxRange> parts;
  for (int64_t i = 0; i < 2 * kMaxBoxes; ++i) parts.push_back({box({i}, {1}), 0, 1});
  EXPECT_EQ(check_cover(global, parts).code(), Code::kBadData);
}

TEST(Boxes, CoverCountsBeyond32Bits) {
  const Shape global = {int64_t{1} << 20, int64_t{1} << 14};  // 2^34 elements
  const Box whole = Box::whole(global);
  const int64_t size = global.num_elements();
  EXPECT_TRUE(
      check_cover(global, std::vector<BoxRange>{{whole, 0, size - 1}, {whole, size - 1, size}})
          .ok());
  const Status missing = check_cover(global, std::vector<BoxRange>{{whole, 0, int64_t{1} << 33}});
  EXPECT_NE(missing.message().find("8589934592 of 17179869184"), std::string::npos)
      << missing.message();
}

}  // namespace
}  // namespace leasehold
