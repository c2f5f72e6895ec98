// Extents of a dense row-major array, up to five dims, 64-bit throughout.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

namespace leasehold {

class Shape {
 public:
  static constexpr int kMaxDims = 5;

  Shape() = default;  // no dims: one element
  Shape(std::initializer_list<int64_t> extents);
  explicit Shape(std::span<const int64_t> extents);

  int num_dims() const { return num_dims_; }
  int64_t operator[](int dim) const { return extents_[static_cast<size_t>(dim)]; }
  int64_t num_elements() const;
  std::span<const int64_t> extents() const {
    return {extents_.data(), static_cast<size_t>(num_dims_)};
  }
  bool operator==(const Shape& other) const;
  std::string to_string() const;  // "(2, 768)"

 private:
  std::array<int64_t, kMaxDims> extents_{};
  int num_dims_ = 0;
};

}  // namespace leasehold
