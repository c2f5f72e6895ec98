// How kernels read and write: packs of up to 16 bytes, converted to the type that is computed in.
// An access is vectorised where address and count permit, else element by element, with the same
// elements in the same thread: bits do not depend on alignment.
#pragma once

#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <type_traits>

#include "runtime/tensor/cuda/dialect.h"

namespace leasehold::cuda {

// Elements of T in a pack.
template <typename T>
constexpr int kPack = static_cast<int>(16 / sizeof(T));

// What values of T are computed in.
template <typename T>
using Compute = std::conditional_t<std::is_same_v<T, double>, double, float>;

template <typename To>
struct Convert {
  __device__ static To from(float value) { return static_cast<To>(value); }
  __device__ static To from(double value) { return static_cast<To>(value); }
  __device__ static To from(__nv_bfloat16 value) {
    return static_cast<To>(__bfloat162float(value));
  }
};
template <>
struct Convert<__nv_bfloat16> {
  __device__ static __nv_bfloat16 from(float value) { return __float2bfloat16_rn(value); }
  __device__ static __nv_bfloat16 from(__nv_bfloat16 value) { return value; }
  // By way of float rounded to odd, so that the second rounding sees that the first was not exact
  // (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums", 2008).
  __device__ static __nv_bfloat16 from(double value) {
    float nearest = static_cast<float>(value);
    const double back = nearest;
    uint32_t bits;
    std::memcpy(&bits, &nearest, sizeof bits);
    if (back != value && value == value && bits % 2 == 0) {
      bits += fabs(back) > fabs(value) ? -1U : 1U;
      std::memcpy(&nearest, &bits, sizeof bits);
    }
    return __float2bfloat16_rn(nearest);
  }
};

// The widest machine word in which kBytes travel.
template <int kBytes>
using Word =
    std::conditional_t<kBytes % 16 == 0, uint4,
                       std::conditional_t<kBytes % 8 == 0, uint2,
                                          std::conditional_t<kBytes % 4 == 0, uint32_t, uint16_t>>>;

// values[j] = from[j] for j < count. kVector: all kCount exist, `from` is aligned to their word.
template <bool kVector, typename T, typename V, int kCount>
__device__ inline void load(const T* from, int count, V (&values)[kCount]) {
  if constexpr (kVector) {
    using Access = Word<kCount* static_cast<int>(sizeof(T))>;
    constexpr int kWords = kCount * sizeof(T) / sizeof(Access);
    Access words[kWords];
#pragma unroll
    for (int j = 0; j < kWords; ++j) words[j] = reinterpret_cast<const Access*>(from)[j];
    T elements[kCount];
    std::memcpy(elements, words, sizeof elements);
#pragma unroll
    for (int j = 0; j < kCount; ++j) values[j] = Convert<V>::from(elements[j]);
  } else {
#pragma unroll
    for (int j = 0; j < kCount; ++j) values[j] = j < count ? Convert<V>::from(from[j]) : V(0);
  }
}

// The words of values that are rounded to T, to nearest even.
template <typename T, typename V, int kCount, typename Access, int kWords>
__device__ inline void pack(const V (&values)[kCount], Access (&words)[kWords]) {
  T elements[kCount];
#pragma unroll
  for (int j = 0; j < kCount; ++j) elements[j] = Convert<T>::from(values[j]);
  static_assert(sizeof elements == sizeof words);
  std::memcpy(words, elements, sizeof elements);
}

// The reverse: to[j] = values[j], rounded to nearest even.
template <bool kVector, typename T, typename V, int kCount>
__device__ inline void store(T* to, int count, const V (&values)[kCount]) {
  if constexpr (kVector) {
    using Access = Word<kCount* static_cast<int>(sizeof(T))>;
    constexpr int kWords = kCount * sizeof(T) / sizeof(Access);
    Access words[kWords];
    pack<T>(values, words);
#pragma unroll
    for (int j = 0; j < kWords; ++j) reinterpret_cast<Access*>(to)[j] = words[j];
  } else {
#pragma unroll
    for (int j = 0; j < kCount; ++j) {
      if (j < count) to[j] = Convert<T>::from(values[j]);
    }
  }
}

// As store, of whole packs to global memory: by an instruction that the compiler cannot take apart.
// In some kernels it makes single stores of a word, for reasons that are its own.
template <bool kVector, typename T, typename V, int kCount>
__device__ inline void store_global(T* to, int count, const V (&values)[kCount]) {
  if constexpr (kVector && kCount * sizeof(T) % sizeof(uint4) == 0) {
    constexpr int kWords = kCount * sizeof(T) / sizeof(uint4);
    uint4 words[kWords];
    pack<T>(values, words);
#pragma unroll
    for (int j = 0; j < kWords; ++j) __stwb(reinterpret_cast<uint4*>(to) + j, words[j]);
  } else {
    store<kVector>(to, count, values);
  }
}

// True when every address is a multiple of 16 bytes.
inline bool are_aligned(std::initializer_list<const void*> addresses) {
  for (const void* address : addresses) {
    if (reinterpret_cast<uintptr_t>(address) % 16 != 0) return false;
  }
  return true;
}

__host__ __device__ inline int64_t ceil_divide(int64_t value, int64_t divisor) {
  return (value + divisor - 1) / divisor;
}

inline dim3 grid_of(int64_t x, int64_t y = 1) {
  return {static_cast<unsigned>(x), static_cast<unsigned>(y), 1};
}

}  // namespace leasehold::cuda
