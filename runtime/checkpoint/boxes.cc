#include "runtime/checkpoint/boxes.h"

#include <algorithm>
#include <vector>

namespace leasehold {

namespace {

size_t index_of(int dim) { return static_cast<size_t>(dim); }

// Below, equal or above zero, as a - b would be.
int compare_boxes(const Box& a, const Box& b) {
  if (a.offset != b.offset) return a.offset < b.offset ? -1 : 1;
  const auto x = a.extent.extents();
  const auto y = b.extent.extents();
  if (std::ranges::equal(x, y)) return 0;
  return std::ranges::lexicographical_compare(x, y) ? -1 : 1;
}

}  // namespace

std::string to_string(const Box& box) {
  std::string text = "[";
  for (int dim = 0; dim < box.extent.num_dims(); ++dim) {
    const int64_t begin = box.offset[index_of(dim)];
    text += fmt::format("{}{}:{}", dim > 0 ? ", " : "", begin, begin + box.extent[dim]);
  }
  return text + "]";
}

std::string to_string(const BoxRange& range) {
  return fmt::format("elements {}:{} of {}", range.begin, range.end, to_string(range.box));
}

Result<Shape> checked_shape(std::span<const int64_t> extents, int64_t element_bytes) {
  if (extents.size() > Shape::kMaxDims) {
    return error(Code::kBadData, "{} dims, at most {} are supported", extents.size(),
                 Shape::kMaxDims);
  }
  int64_t bytes = element_bytes;
  for (const int64_t extent : extents) {
    if (extent <= 0) return error(Code::kBadData, "an extent of {}", extent);
    if (__builtin_mul_overflow(bytes, extent, &bytes)) {
      return error(Code::kBadData, "more bytes than 63 bits can count");
    }
  }
  return Shape(extents);
}

Status check_inside(const Box& box, const Shape& global) {
  if (box.extent.num_dims() != global.num_dims()) {
    return error(Code::kBadData, "a box of {} dims in a tensor of shape {}", box.extent.num_dims(),
                 global.to_string());
  }
  for (int dim = 0; dim < global.num_dims(); ++dim) {
    const int64_t offset = box.offset[index_of(dim)];
    if (offset < 0 || offset > global[dim] || box.extent[dim] > global[dim] - offset) {
      return error(Code::kBadData,
                   "a box of offset {} and extent {} in dim {} of a tensor of shape {}", offset,
                   box.extent[dim], dim, global.to_string());
    }
  }
  return ok_status();
}

Status check_inside(const BoxRange& range, const Shape& global) {
  LEASEHOLD_RETURN_IF_ERROR(check_inside(range.box, global));
  if (range.begin < 0 || range.end < range.begin || range.end > range.box.extent.num_elements()) {
    return error(Code::kBadData, "elements {}:{} of a box of {}", range.begin, range.end,
                 range.box.extent.num_elements());
  }
  return ok_status();
}

std::optional<Box> intersect(const Box& a, const Box& b) {
  LEASEHOLD_CHECK(a.extent.num_dims() == b.extent.num_dims(), "boxes {} and {}", to_string(a),
                  to_string(b));
  std::array<int64_t, Shape::kMaxDims> extents{};
  Box shared;
  for (int dim = 0; dim < a.extent.num_dims(); ++dim) {
    const size_t i = index_of(dim);
    const int64_t begin = std::max(a.offset[i], b.offset[i]);
    const int64_t end = std::min(a.offset[i] + a.extent[dim], b.offset[i] + b.extent[dim]);
    if (begin >= end) return std::nullopt;
    shared.offset[i] = begin;
    extents[i] = end - begin;
  }
  shared.extent = Shape(std::span<const int64_t>(extents.data(), index_of(a.extent.num_dims())));
  return shared;
}

bool box_range_less(const BoxRange& a, const BoxRange& b) {
  const int order = compare_boxes(a.box, b.box);
  return order != 0 ? order < 0 : std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
}

Status check_cover(const Shape& global, std::span<const BoxRange> parts) {
  std::vector<BoxRange> sorted(parts.begin(), parts.end());
  std::ranges::sort(sorted, box_range_less);
  std::vector<const Box*> boxes;
  int64_t held = 0;  // cannot overflow: checked against the number of elements at every step
  for (size_t i = 0; i < sorted.size(); ++i) {
    const BoxRange& part = sorted[i];
    LEASEHOLD_RETURN_IF_ERROR(check_inside(part, global));
    if (i == 0 || compare_boxes(sorted[i - 1].box, part.box) != 0) {
      boxes.push_back(&part.box);
    } else if (part.begin < sorted[i - 1].end) {
      return error(Code::kBadData, "{} overlap {}", to_string(part), to_string(sorted[i - 1]));
    }
    if (part.count() > global.num_elements() - held) {
      return error(Code::kBadData, "the pieces hold more than the {} elements of shape {}",
                   global.num_elements(), global.to_string());
    }
    held += part.count();
  }
  if (static_cast<int64_t>(boxes.size()) > kMaxBoxes) {
    return error(Code::kBadData, "{} different boxes, at most {} are supported", boxes.size(),
                 kMaxBoxes);
  }
  for (size_t i = 0; i < boxes.size(); ++i) {
    for (size_t j = i + 1; j < boxes.size(); ++j) {
      if (intersect(*boxes[i], *boxes[j])) {
        return error(Code::kBadData, "box {} overlaps box {}", to_string(*boxes[i]),
                     to_string(*boxes[j]));
      }
    }
  }
  if (held < global.num_elements()) {
    return error(Code::kBadData, "{} of {} elements of shape {} are missing",
                 global.num_elements() - held, global.num_elements(), global.to_string());
  }
  return ok_status();
}

}  // namespace leasehold
