#include "runtime/tensor/tensor.h"

namespace leasehold {

Tensor Tensor::reshape(const Shape& shape) const {
  LEASEHOLD_CHECK(present_ && is_dense() && shape.num_elements() == shape_.num_elements(),
                  "{} cannot be seen as {}", shape_.to_string(), shape.to_string());
  return {data_, dtype_, shape};
}

int64_t Tensor::row_stride() const {
  int64_t row_elements = 1;
  for (int i = 1; i < shape_.num_dims(); ++i) row_elements *= shape_[i];
  return row_elements + row_gap_;
}

Tensor Tensor::flat(int64_t begin, int64_t count) const {
  LEASEHOLD_CHECK(is_dense() && begin >= 0 && count >= 0 && begin + count <= num_elements(),
                  "elements {} + {} of {}", begin, count, shape_.to_string());
  char* data = data_ == nullptr ? nullptr : static_cast<char*>(data_) + begin * size_of(dtype_);
  return {data, dtype_, Shape{count}};
}

Tensor Tensor::rows(int64_t begin, int64_t count) const {
  LEASEHOLD_CHECK(shape_.num_dims() > 0 && begin >= 0 && count >= 0 && begin + count <= shape_[0],
                  "rows {} + {} of {}", begin, count, shape_.to_string());
  std::array<int64_t, Shape::kMaxDims> extents{};
  for (int i = 0; i < shape_.num_dims(); ++i) extents[static_cast<size_t>(i)] = shape_[i];
  extents[0] = count;
  char* data = data_ == nullptr
                   ? nullptr
                   : static_cast<char*>(data_) + begin * row_stride() * size_of(dtype_);
  Tensor rows(
      data, dtype_,
      Shape(std::span<const int64_t>(extents.data(), static_cast<size_t>(shape_.num_dims()))));
  rows.row_gap_ = row_gap_;
  return rows;
}

Tensor Tensor::columns(int64_t count) const {
  LEASEHOLD_CHECK(shape_.num_dims() == 2 && is_dense() && count >= 0 && count <= shape_[1],
                  "{} columns of {}", count, shape_.to_string());
  Tensor columns(data_, dtype_, {shape_[0], count});
  columns.row_gap_ = shape_[1] - count;
  return columns;
}

}  // namespace leasehold
