#include "collectives/combine.h"

#include <type_traits>

namespace leasehold {

namespace {

struct Sum {
  template <typename T>
  T operator()(T a, T b) const {
    if constexpr (std::is_integral_v<T>) {
      using Unsigned = std::make_unsigned_t<T>;
      return static_cast<T>(static_cast<Unsigned>(a) + static_cast<Unsigned>(b));
    } else {
      return a + b;
    }
  }
};
// Propagate NaN: a != a detects a NaN in `a`, and the failed comparison one in `b`.
struct Max {
  template <typename T>
  T operator()(T a, T b) const {
    return ((a > b) | (a != a)) ? a : b;  // NOLINT(misc-redundant-expression)
  }
};
struct Min {
  template <typename T>
  T operator()(T a, T b) const {
    return ((a < b) | (a != a)) ? a : b;  // NOLINT(misc-redundant-expression)
  }
};

// Combines element by element. `ivdep` is safe although out may be left or right: no element
// depends on another.
template <typename T, typename Op>
void loop(void* out, const void* left, const void* right, int64_t n) {
  T* o = static_cast<T*>(out);
  const T* a = static_cast<const T*>(left);
  const T* b = static_cast<const T*>(right);
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) o[i] = Op()(a[i], b[i]);
}

template <typename T>
void combine_as(ReduceOp op, void* out, const void* left, const void* right, int64_t n) {
  switch (op) {
    case ReduceOp::kSum:
      return loop<T, Sum>(out, left, right, n);
    case ReduceOp::kMax:
      return loop<T, Max>(out, left, right, n);
    case ReduceOp::kMin:
      return loop<T, Min>(out, left, right, n);
  }
}

}  // namespace

void combine(DType dtype, ReduceOp op, void* out, const void* left, const void* right, int64_t n) {
  switch (dtype) {
    case DType::kF32:
      return combine_as<float>(op, out, left, right, n);
    case DType::kF64:
      return combine_as<double>(op, out, left, right, n);
    case DType::kI32:
      return combine_as<int32_t>(op, out, left, right, n);
    default:
      LEASEHOLD_CHECK(false, "no reduction of {}", dtype_name(dtype));
  }
}

}  // namespace leasehold
