// A view of a row-major array in somebody else's memory: pointer, dtype, shape. Copying it copies
// no element; an Arena (or a test's buffer) owns the memory. Trivially copyable, so that it travels
// in kernel arguments. It is dense, but for what columns() makes.
#pragma once

#include <cstdint>

#include "runtime/base/check.h"
#include "runtime/tensor/dtype.h"
#include "runtime/tensor/shape.h"

namespace leasehold {

class Tensor {
 public:
  Tensor() = default;  // the empty tensor: stands for "absent" where a contract allows it
  Tensor(void* data, DType dtype, const Shape& shape)
      : data_(data), shape_(shape), dtype_(dtype), present_(true) {}

  // False for the empty tensor. A tensor of a measuring arena is present although its data() is
  // null.
  bool present() const { return present_; }
  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  int64_t dim(int i) const { return shape_[i]; }
  int64_t num_elements() const { return present_ ? shape_.num_elements() : 0; }
  int64_t size_bytes() const { return num_elements() * size_of(dtype_); }
  void* data() const { return data_; }
  bool is_dense() const { return row_gap_ == 0; }
  // Elements from the beginning of a row (along dim 0) to that of the next one.
  int64_t row_stride() const;

  // The elements, checked against the dtype.
  template <typename T>
  T* as() const {
    LEASEHOLD_CHECK(dtype_ == DTypeOf<T>::value, "tensor of {} read as {}", dtype_name(dtype_),
                    dtype_name(DTypeOf<T>::value));
    return static_cast<T*>(data_);
  }

  // The same elements under another shape of as many elements. Of a dense tensor.
  Tensor reshape(const Shape& shape) const;
  // Elements [begin, begin + count) of the flattened array, shape (count). Of a dense tensor.
  Tensor flat(int64_t begin, int64_t count) const;
  // Rows [begin, begin + count) along dim 0.
  Tensor rows(int64_t begin, int64_t count) const;
  // The first `count` columns of a dense (N, W): (N, count) with rows that begin W apart.
  Tensor columns(int64_t count) const;

 private:
  void* data_ = nullptr;
  Shape shape_;
  DType dtype_ = DType::kF32;
  bool present_ = false;
  int64_t row_gap_ = 0;  // elements between the end of a row and the next one
};

}  // namespace leasehold
