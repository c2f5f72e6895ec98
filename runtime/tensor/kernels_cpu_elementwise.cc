#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "runtime/tensor/kernels_cpu.h"
#include "runtime/tensor/kernels_cpu_dropout.h"
#include "runtime/tensor/kernels_cpu_elements.h"

namespace leasehold::cpu {

namespace {

constexpr int64_t kTaskElements = 32768;

// body(begin, count) for blocks of the elements, on the pool.
template <typename Body>
void for_each_block(ThreadPool& pool, int64_t count, Body&& body) {
  pool.run((count + kTaskElements - 1) / kTaskElements, [&](int64_t task, int) {
    const int64_t begin = task * kTaskElements;
    body(begin, std::min(kTaskElements, count - begin));
  });
}

template <typename E>
void add_block(const Add& work, int64_t begin, int64_t count) {
  const E* left = static_cast<const E*>(work.left) + begin;
  const E* right = static_cast<const E*>(work.right) + begin;
  E* out = static_cast<E*>(work.out) + begin;
#pragma GCC ivdep
  for (int64_t i = 0; i < count; ++i) {
    if constexpr (std::is_same_v<E, double>) {
      out[i] = left[i] + right[i];
    } else {
      out[i] = rounded<E>(load(left[i]) + load(right[i]));
    }
  }
}

template <typename To, typename From>
To convert(From value) {
  return static_cast<To>(value);
}
template <>
float convert<float, Bf16>(Bf16 value) {
  return load(value);
}
template <>
double convert<double, Bf16>(Bf16 value) {
  return load(value);
}
template <>
Bf16 convert<Bf16, Bf16>(Bf16 value) {
  return value;
}
template <>
Bf16 convert<Bf16, float>(float value) {
  return rounded<Bf16>(value);
}
// By way of float rounded to odd, so that the second rounding sees that the first was not exact
// (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums", 2008).
template <>
Bf16 convert<Bf16, double>(double value) {
  const auto nearest = static_cast<float>(value);
  auto bits = std::bit_cast<uint32_t>(nearest);
  const double back = nearest;
  if (back != value && !std::isnan(value) && bits % 2 == 0)
    bits += std::abs(back) > std::abs(value) ? -1U : 1U;
  return convert<Bf16>(std::bit_cast<float>(bits));
}

template <typename To, typename From>
void cast_block(const Cast& work, int64_t begin, int64_t count) {
  const From* in = static_cast<const From*>(work.in) + begin;
  To* out = static_cast<To*>(work.out) + begin;
#pragma GCC ivdep
  for (int64_t i = 0; i < count; ++i) out[i] = convert<To>(in[i]);
}

template <typename From>
void cast_from(const Cast& work, int64_t begin, int64_t count) {
  switch (work.to) {
    case DType::kF32:
      return cast_block<float, From>(work, begin, count);
    case DType::kF64:
      return cast_block<double, From>(work, begin, count);
    default:
      return cast_block<Bf16, From>(work, begin, count);
  }
}

}  // namespace

template <typename E>
void run(ThreadPool& pool, const ResidualAdd<E>& work) {
  for_each_block(pool, work.count, [&](int64_t block, int64_t block_count) {
    for_each_dropout_piece(work.dropout, block, block_count,
                           [&](int64_t piece, int64_t count, const float* factors) {
                             const E* x = work.x + block + piece;
                             const E* delta = work.delta + block + piece;
                             E* out = work.out + block + piece;
                             if (factors == nullptr && work.x == nullptr) {
                               std::memmove(out, delta, static_cast<size_t>(count) * sizeof(E));
                             } else if (factors == nullptr) {
#pragma GCC ivdep
                               for (int64_t i = 0; i < count; ++i)
                                 out[i] = rounded<E>(load(x[i]) + load(delta[i]));
                             } else if (work.x == nullptr) {
#pragma GCC ivdep
                               for (int64_t i = 0; i < count; ++i)
                                 out[i] = rounded<E>(load(delta[i]) * factors[i]);
                             } else {
#pragma GCC ivdep
                               for (int64_t i = 0; i < count; ++i)
                                 out[i] = rounded<E>(load(x[i]) + load(delta[i]) * factors[i]);
                             }
                           });
  });
}

void run(ThreadPool& pool, const Add& work) {
  for_each_block(pool, work.count, [&](int64_t begin, int64_t count) {
    work.dtype == DType::kF64    ? add_block<double>(work, begin, count)
    : work.dtype == DType::kBf16 ? add_block<Bf16>(work, begin, count)
                                 : add_block<float>(work, begin, count);
  });
}

template <typename E>
void run(ThreadPool& pool, const SumParts<E>& work) {
  for_each_block(pool, work.count, [&](int64_t begin, int64_t count) {
    constexpr int64_t kStrip = 1024;
    for (int64_t first = begin; first < begin + count; first += kStrip) {
      const int64_t width = std::min(kStrip, begin + count - first);
      float sum[kStrip];
      for (int64_t i = 0; i < width; ++i) sum[i] = load(work.parts[first + i]);
      for (int64_t part = 1; part < work.num_parts; ++part) {
        const E* more = work.parts + part * work.count + first;
        for (int64_t i = 0; i < width; ++i) sum[i] += load(more[i]);
      }
      for (int64_t i = 0; i < width; ++i) work.out[first + i] = rounded<E>(sum[i]);
    }
  });
}

void run(ThreadPool& pool, const Fill& work) {
  for_each_block(pool, work.count, [&](int64_t begin, int64_t count) {
    if (work.dtype == DType::kF64) {
      std::fill_n(static_cast<double*>(work.out) + begin, count, static_cast<double>(work.value));
    } else if (work.dtype == DType::kBf16) {
      std::fill_n(static_cast<Bf16*>(work.out) + begin, count, rounded<Bf16>(work.value));
    } else if (std::bit_cast<uint32_t>(work.value) == 0) {
      std::memset(static_cast<float*>(work.out) + begin, 0,
                  static_cast<size_t>(count) * sizeof(float));
    } else {
      std::fill_n(static_cast<float*>(work.out) + begin, count, work.value);
    }
  });
}

void run(ThreadPool& pool, const Cast& work) {
  for_each_block(pool, work.count, [&](int64_t begin, int64_t count) {
    switch (work.from) {
      case DType::kF32:
        return cast_from<float>(work, begin, count);
      case DType::kF64:
        return cast_from<double>(work, begin, count);
      default:
        return cast_from<Bf16>(work, begin, count);
    }
  });
}

template void run(ThreadPool& pool, const ResidualAdd<float>& work);
template void run(ThreadPool& pool, const ResidualAdd<Bf16>& work);
template void run(ThreadPool& pool, const SumParts<float>& work);
template void run(ThreadPool& pool, const SumParts<Bf16>& work);

}  // namespace leasehold::cpu
