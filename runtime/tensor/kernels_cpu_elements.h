// How the CPU kernels read and write activations: templates over E = float or Bf16 compute in float
// between the two. For float all of it is nothing.
#pragma once

#include <cstdint>
#include <type_traits>

#include "runtime/base/half_floats.h"
#include "runtime/tensor/dtype.h"

namespace leasehold::cpu {

inline float load(float value) { return value; }
inline float load(Bf16 value) { return bf16_to_float(value.bits); }

// To nearest even.
template <typename E>
inline E rounded(float value) {
  if constexpr (std::is_same_v<E, float>) {
    return value;
  } else {
    return {float_to_bf16(value)};
  }
}

// What is read back of a value that was stored.
template <typename E>
inline float through(float value) {
  return load(rounded<E>(value));
}

template <typename E>
constexpr bool kIsNarrow = !std::is_same_v<E, float>;

// Rows of floats, `stride` apart.
struct FloatRows {
  const float* data = nullptr;
  int64_t stride = 0;
};

// (rows, columns) of E, `stride` elements from row to row, as floats: themselves, or a dense copy
// in `to`.
inline FloatRows as_floats(const float* from, int64_t stride, int64_t, int64_t, float*) {
  return {from, stride};
}
inline FloatRows as_floats(const Bf16* from, int64_t stride, int64_t rows, int64_t columns,
                           float* to) {
  for (int64_t row = 0; row < rows; ++row) {
    const Bf16* source = from + row * stride;
    float* copy = to + row * columns;
    for (int64_t i = 0; i < columns; ++i) copy[i] = load(source[i]);
  }
  return {to, columns};
}

}  // namespace leasehold::cpu
