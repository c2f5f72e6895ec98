// Element types.
#pragma once

#include <cstdint>
#include <string_view>

#include "runtime/base/status.h"

namespace leasehold {

enum class DType : uint8_t { kF32, kF64, kBf16, kI32, kU8 };

int64_t size_of(DType dtype);         // bytes
const char* dtype_name(DType dtype);  // safetensors' names: "F32", "F64", "BF16", "I32", "U8"
Result<DType> parse_dtype(std::string_view name);

// An element of kBf16, which C++ has no type for: its bits (runtime/base/half_floats.h).
struct Bf16 {
  uint16_t bits;
};

// The DType of a C++ type, for Tensor::as<T>().
template <typename T>
struct DTypeOf;
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::kF32;
};
template <>
struct DTypeOf<double> {
  static constexpr DType value = DType::kF64;
};
template <>
struct DTypeOf<Bf16> {
  static constexpr DType value = DType::kBf16;
};
template <>
struct DTypeOf<int32_t> {
  static constexpr DType value = DType::kI32;
};
template <>
struct DTypeOf<uint8_t> {
  static constexpr DType value = DType::kU8;
};

}  // namespace leasehold
