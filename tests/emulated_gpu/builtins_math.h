// The rest of the twins: what kernels call of CUDA's loads, bits and arithmetic. What is not here
// does not compile or link in emulated builds; whoever needs more adds it. There are no atomics on
// floating-point numbers, by the project's rule.
#pragma once

#include <bit>
#include <cmath>
#include <cuda_runtime.h>
#include <type_traits>

#ifndef __noinline__
#define __noinline__ __attribute__((noinline))  // NOLINT
#endif

// NOLINTBEGIN(bugprone-reserved-identifier,readability-identifier-naming)

template <typename T>
T __ldg(const T* from) {
  return *from;
}
inline void __stwb(uint4* to, uint4 value) { *to = value; }

inline int __popc(unsigned x) { return std::popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }

// CUDA's min takes numbers of one type, or two that convert to a common one.
template <typename A, typename B>
requires std::is_arithmetic_v<A> && std::is_arithmetic_v<B>
constexpr std::common_type_t<A, B> min(A a, B b) {
  using T = std::common_type_t<A, B>;
  if constexpr (std::is_floating_point_v<T>) return static_cast<T>(std::fmin(T(a), T(b)));
  return T(b) < T(a) ? T(b) : T(a);
}

// NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming)
