#include "runtime/tensor/tensor.h"

namespace leasehold {

Tensor Tensor::reshape(const Shape& shape) const {
  LEASEHOLD_CHECK(present_ && shape.num_elements() == shape_.num_elements(),
                  "{} cannot be seen as {}", shape_.to_string(), shape.to_string());
  return {data_, dtype_, shape};
}

Tensor Tensor::flat(int64_t begin, int64_t count) const {
  LEASEHOLD_CHECK(begin >= 0 && count >= 0 && begin + count <= num_elements(),
                  "elements {} + {} of {}", begin, count, shape_.to_string());
  char* data = data_ == nullptr ? nullptr : static_cast<char*>(data_) + begin * size_of(dtype_);
  return {data, dtype_, Shape{count}};
}

Tensor Tensor::rows(int64_t begin, int64_t count) const {
  LEASEHOLD_CHECK(shape_.num_dims() > 0 && begin >= 0 && count >= 0 && begin + count <= shape_[0],
                  "rows {} + {} of {}", begin, count, shape_.to_string());
  std::array<int64_t, Shape::kMaxDims> extents{};
  int64_t row_elements = 1;
  for (int i = 0; i < shape_.num_dims(); ++i) {
    extents[static_cast<size_t>(i)] = shape_[i];
    if (i > 0) row_elements *= shape_[i];
  }
  extents[0] = count;
  char* data = data_ == nullptr
                   ? nullptr
                   : static_cast<char*>(data_) + begin * row_elements * size_of(dtype_);
  return {data, dtype_,
          Shape(std::span<const int64_t>(extents.data(), static_cast<size_t>(shape_.num_dims())))};
}

}  // namespace leasehold
