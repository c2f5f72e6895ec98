// In which number format the products of a step are computed.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string_view>

namespace leasehold {

enum class Precision { kFp32, kBf16, kFp8, kFp4 };
inline constexpr size_t kNumPrecisions = 4;

// Returns "fp32", "bf16", "fp8" or "fp4", as hardware files have it.
std::string_view precision_name(Precision precision);

// Understands what tables of measured steps write, in any case: FP16 counts as bf16 (tensor cores
// are as fast in both), FP8, FP8-CS and MXFP8 as fp8, NVFP4 and MXFP4 as fp4.
std::optional<Precision> parse_precision(std::string_view text);

// Returns the bytes of an element as products read it.
double element_bytes(Precision precision);

// One value for each precision.
template <typename Value>
struct PerPrecision {
  std::array<Value, kNumPrecisions> values{};
  Value& operator[](Precision precision) { return values[static_cast<size_t>(precision)]; }
  const Value& operator[](Precision precision) const {
    return values[static_cast<size_t>(precision)];
  }
};

}  // namespace leasehold
