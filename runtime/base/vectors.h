// Vectors of 64-bit lanes, each of one register, for the few loops that a compiler does not turn
// into vector code by itself. This is the only file with vector instructions of one family of
// processors. Forms: AVX2 (four lanes), SSE2 and NEON (two lanes), and for every other processor a
// plain form, which LEASEHOLD_PLAIN_VECTORS asks for anywhere. A lane holds the same bits in all of
// them, so code whose lanes stand for elements gives the same result, whatever kLanes is. Operators
// (+ ^ >> <<) work lane by lane: these are the compiler's own vector types.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(LEASEHOLD_PLAIN_VECTORS)
#define LEASEHOLD_VECTOR_FORM plain
#elif defined(__AVX2__)
#include <immintrin.h>
#define LEASEHOLD_VECTOR_FORM avx2
#elif defined(__SSE2__)
#include <emmintrin.h>
#define LEASEHOLD_VECTOR_FORM sse2
#elif defined(__ARM_NEON) && defined(__aarch64__)
#include <arm_neon.h>
#define LEASEHOLD_VECTOR_FORM neon
#else
#define LEASEHOLD_PLAIN_VECTORS
#define LEASEHOLD_VECTOR_FORM plain
#endif

namespace leasehold::vectors {

// Files of one program may be built with different forms.
inline namespace LEASEHOLD_VECTOR_FORM {

#if defined(__AVX2__) && !defined(LEASEHOLD_PLAIN_VECTORS)
constexpr int kLanes = 4;
#else
constexpr int kLanes = 2;
#endif

using U64s = uint64_t __attribute__((vector_size(8 * kLanes)));
// The same register as twice as many lanes of 32 bits: lane 2 i is the low half of U64s' lane i.
using U32s = uint32_t __attribute__((vector_size(8 * kLanes)));
using I32s = int32_t __attribute__((vector_size(8 * kLanes)));
using F32s = float __attribute__((vector_size(8 * kLanes)));

// Returns `value` in every lane.
inline U64s splat(uint64_t value) { return value - U64s{}; }

// Returns the product of the low halves of each lane; the high halves may hold anything.
inline U64s multiply_low_halves(U64s left, U64s right) {
#if defined(LEASEHOLD_PLAIN_VECTORS)
  constexpr uint64_t kLow = 0xFFFFFFFF;
  return (left & kLow) * (right & kLow);
#elif defined(__AVX2__)
  return reinterpret_cast<U64s>(
      _mm256_mul_epu32(reinterpret_cast<__m256i>(left), reinterpret_cast<__m256i>(right)));
#elif defined(__SSE2__)
  return reinterpret_cast<U64s>(
      _mm_mul_epu32(reinterpret_cast<__m128i>(left), reinterpret_cast<__m128i>(right)));
#else
  return reinterpret_cast<U64s>(vmull_u32(vmovn_u64(reinterpret_cast<uint64x2_t>(left)),
                                          vmovn_u64(reinterpret_cast<uint64x2_t>(right))));
#endif
}

// Returns in each lane the low half of `low` below the low half of `high`.
inline U64s join_low_halves(U64s low, U64s high) {
  const auto below = reinterpret_cast<U32s>(low);
#if defined(__AVX2__) && !defined(LEASEHOLD_PLAIN_VECTORS)
  const auto above = reinterpret_cast<U32s>(high << 32);
  return reinterpret_cast<U64s>(__builtin_shufflevector(below, above, 0, 9, 2, 11, 4, 13, 6, 15));
#else
  const auto above = reinterpret_cast<U32s>(high);
  return reinterpret_cast<U64s>(__builtin_shufflevector(below, above, 0, 4, 2, 6));
#endif
}

// first[0], second[0], first[1], ...: their lanes in turns. `low` has the lower half of that
// sequence, `high` the upper.
struct Turns {
  U64s low, high;
};
inline Turns take_turns(U64s first, U64s second) {
#if defined(__AVX2__) && !defined(LEASEHOLD_PLAIN_VECTORS)
  const U64s even = __builtin_shufflevector(first, second, 0, 4, 2, 6);
  const U64s odd = __builtin_shufflevector(first, second, 1, 5, 3, 7);
  return {__builtin_shufflevector(even, odd, 0, 1, 4, 5),
          __builtin_shufflevector(even, odd, 2, 3, 6, 7)};
#else
  return {__builtin_shufflevector(first, second, 0, 2),
          __builtin_shufflevector(first, second, 1, 3)};
#endif
}

// Stores 2 kLanes floats, at any address.
inline void store(F32s values, float* to) { std::memcpy(to, &values, sizeof values); }

}  // namespace LEASEHOLD_VECTOR_FORM

}  // namespace leasehold::vectors
