// Converts the two 16-bit floating-point formats in which weights are exchanged, given as bits.
// Every value of either format is a float; the conversion back rounds.
#pragma once

#include <bit>
#include <cstdint>

namespace leasehold {

// Converts bfloat16, the upper half of a float. Exact, NaN payloads included.
inline float bf16_to_float(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

// Converts IEEE 754 binary16: subnormals, infinities and NaN too. Exact.
float f16_to_float(uint16_t bits);

// Returns the nearest bfloat16, ties to even; infinity beyond the largest. A value that came from
// bfloat16 keeps its bits. NaN stays NaN.
inline uint16_t float_to_bf16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t high = bits >> 16;
  // Adds just less than half a unit, or half where the unit's bit is set. Without a branch, so that
  // loops vectorise.
  const uint32_t rounded = (bits + 0x7fff + (high & 1)) >> 16;
  // A NaN's payload may lie in the lower half alone.
  const uint32_t quiet = (bits & 0xffff) == 0 ? 0 : 0x40;
  return static_cast<uint16_t>((bits & 0x7fffffff) > 0x7f800000 ? high | quiet : rounded);
}

}  // namespace leasehold
