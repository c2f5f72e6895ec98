// The two 16-bit floating point formats that weights are exchanged in, as bits. Every value of
// either is a float; the way back rounds.
#pragma once

#include <bit>
#include <cstdint>

namespace leasehold {

// bfloat16: the upper half of a float. Exact, NaN payloads included.
inline float bf16_to_float(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

// IEEE 754 binary16, subnormals, infinities and NaN included. Exact.
float f16_to_float(uint16_t bits);

// The nearest bfloat16, ties to even; beyond the largest it is infinity. What came from bfloat16
// comes back bit by bit; a NaN stays one.
inline uint16_t float_to_bf16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t high = bits >> 16;
  // Just less than half a unit, or half where the unit's bit is set; no branch, so that loops
  // vectorise.
  const uint32_t rounded = (bits + 0x7fff + (high & 1)) >> 16;
  const uint32_t quiet = (bits & 0xffff) == 0 ? 0 : 0x40;  // a NaN's payload may lie below alone
  return static_cast<uint16_t>((bits & 0x7fffffff) > 0x7f800000 ? high | quiet : rounded);
}

}  // namespace leasehold
