// Boxes inside global shapes, and row-major ranges inside boxes: the arithmetic under pieces and
// slices. Everything here is pure and 64-bit; what comes from a file is checked for overflow before
// it becomes a Shape.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "runtime/checkpoint/state.h"

namespace leasehold {

// Elements [begin, end) of a box, row-major.
struct BoxRange {
  Box box;
  int64_t begin = 0;
  int64_t end = 0;

  int64_t count() const { return end - begin; }
  bool operator==(const BoxRange&) const = default;
};

// "[0:2, 64:128]", one begin:end per dim.
std::string to_string(const Box& box);
// "elements 10:20 of [0:2, 64:128]".
std::string to_string(const BoxRange& range);

// A Shape of extents that come from outside. kBadData when there are too many dims, one is not
// positive, or the number of elements times `element_bytes` does not fit 63 bits.
Result<Shape> checked_shape(std::span<const int64_t> extents, int64_t element_bytes);

// kBadData, saying what is wrong, unless the box lies inside the shape / the range inside its box.
// The shape's number of elements must not overflow (checked_shape).
Status check_inside(const Box& box, const Shape& global);
Status check_inside(const BoxRange& range, const Shape& global);

// What two boxes of one global shape share; nothing when that is no element.
std::optional<Box> intersect(const Box& a, const Box& b);

// kBadData, naming what overlaps or how much is missing, unless the parts hold every element of the
// shape exactly once. Two parts either have one box or disjoint boxes (every sharded layout does).
// At most kMaxBoxes boxes.
inline constexpr int64_t kMaxBoxes = 4096;
Status check_cover(const Shape& global, std::span<const BoxRange> parts);

// An order without meaning but the same everywhere: by box, then by begin.
bool box_range_less(const BoxRange& a, const BoxRange& b);

}  // namespace leasehold
