#include "runtime/tensor/shape.h"

#include <algorithm>

#include "runtime/base/check.h"

namespace leasehold {

Shape::Shape(std::initializer_list<int64_t> extents)
    : Shape(std::span<const int64_t>(extents.begin(), extents.size())) {}

Shape::Shape(std::span<const int64_t> extents) : num_dims_(static_cast<int>(extents.size())) {
  LEASEHOLD_CHECK(extents.size() <= kMaxDims, "{} dims, at most {}", extents.size(), kMaxDims);
  for (const int64_t extent : extents) LEASEHOLD_CHECK(extent >= 0, "negative extent {}", extent);
  std::copy(extents.begin(), extents.end(), extents_.begin());
}

int64_t Shape::num_elements() const {
  int64_t product = 1;
  for (const int64_t extent : extents()) product *= extent;
  return product;
}

bool Shape::operator==(const Shape& other) const {
  return std::equal(extents().begin(), extents().end(), other.extents().begin(),
                    other.extents().end());
}

std::string Shape::to_string() const {
  std::string text = "(";
  for (int i = 0; i < num_dims_; ++i) text += (i > 0 ? ", " : "") + std::to_string((*this)[i]);
  return text + ")";
}

}  // namespace leasehold
