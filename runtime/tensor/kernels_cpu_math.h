// Scalar mathematics of the CPU kernels, written so that gcc turns a plain loop over it into vector
// code whose lanes and whose tail compute the same bits: IEEE operations, explicit fused
// multiply-adds and selects, no library calls. Also the one way to sum or to take a maximum over a
// row: element i belongs to lane i % kLanes, lanes are folded in a fixed tree. So the result
// depends on the numbers and their count, not on how the loop was compiled.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace leasehold::cpu {

// e^x with an error below 1.01 ulp for x in [-87.33, 88.02]; 0 below, 1.68e38 above, NaN for NaN.
// Stays finite above, which keeps the derivatives below finite: sigmoid is never 0 times infinity.
// It hides no infinity: silu(-infinity) = gelu(-infinity) = -infinity.
// Range reduction x = n ln 2 + r with ln 2 in two parts (Cody and Waite), polynomial of Cephes'
// expf.c (Moshier).
inline float exp_f32(float x) {
  constexpr float kLow = -87.33F;
  constexpr float kHigh = 88.02F;
  constexpr float kRounder = 0x1.8p23F;  // adding it leaves the nearest integer in the low bits
  const float shifted = std::fma(x, 0x1.715476p0F, kRounder);
  const float n = shifted - kRounder;
  const float r = std::fma(n, -0x1.7f7d1cp-20F, std::fma(n, -0x1.62e4p-1F, x));
  float polynomial = 1.9875691500e-4F;
  polynomial = std::fma(polynomial, r, 1.3981999507e-3F);
  polynomial = std::fma(polynomial, r, 8.3334519073e-3F);
  polynomial = std::fma(polynomial, r, 4.1665795894e-2F);
  polynomial = std::fma(polynomial, r, 1.6666665459e-1F);
  polynomial = std::fma(polynomial, r, 5.0000001201e-1F);
  const float mantissa = std::fma(r * r, polynomial, r) + 1.0F;
  // In [-126, 127] modulo 2^32; any number outside the range.
  const uint32_t exponent = std::bit_cast<uint32_t>(shifted) - std::bit_cast<uint32_t>(kRounder);
  const float result = mantissa * std::bit_cast<float>((exponent + 127) << 23);
  // Outside the range `result` is garbage; choosing last is cheaper than clamping first.
  const float bounded = x > kHigh ? 0x1.fap126F : result;
  return x < kLow ? 0.0F : bounded;
}

// ln x with an error below 1 ulp for positive normal x; -infinity for 0, NaN for negative x and
// NaN. The algorithm and coefficients of e_log.c (Sun Microsystems, fdlibm).
inline double log_f64(double x) {
  if (!(x > 0))
    return x == 0 ? -std::numeric_limits<double>::infinity()
                  : std::numeric_limits<double>::quiet_NaN();
  if (x > std::numeric_limits<double>::max()) return x;
  auto bits = std::bit_cast<uint64_t>(x);
  // Mantissa in [sqrt(1/2), sqrt(2)).
  const int64_t offset = static_cast<int64_t>(bits) - 0x3fe6a09e667f3bcd;
  const auto k = static_cast<double>(offset >> 52);
  bits -= static_cast<uint64_t>(offset >> 52) << 52;
  const double f = std::bit_cast<double>(bits) - 1.0;
  const double s = f / (2.0 + f);
  const double z = s * s;
  const double w = z * z;
  const double even = w * (3.999999999940941908e-01 +
                           w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01));
  const double odd = z * (6.666666666666735130e-01 +
                          w * (2.857142874366239149e-01 +
                               w * (1.818357216161805012e-01 + w * 1.47981986051058591e-01)));
  const double half_square = 0.5 * f * f;
  return k * 6.93147180369123816490e-01 -
         ((half_square - (s * (half_square + even + odd) + k * 1.90821492927058770002e-10)) - f);
}

// gelu(x) = x sigmoid(2 u) with u = sqrt(2 / pi) (x + 0.044715 x^3), which equals 0.5 x (1 + tanh
// u) and keeps its relative accuracy for negative x.
constexpr float kGeluLinear = 1.5957691216F;    // 2 sqrt(2 / pi)
constexpr float kGeluCubic = 0.0713548162726F;  // 2 sqrt(2 / pi) 0.044715

inline float gelu(float x) {
  const float twice_u = x * (kGeluLinear + kGeluCubic * (x * x));
  return x / (1.0F + exp_f32(-twice_u));
}

inline float gelu_derivative(float x) {
  const float square = x * x;
  const float twice_u = x * (kGeluLinear + kGeluCubic * square);
  const float e = exp_f32(-twice_u);
  const float sigmoid = 1.0F / (1.0F + e);  // 1 - sigmoid = e sigmoid, without cancellation
  const float slope = x * (kGeluLinear + 3.0F * kGeluCubic * square);  // x d(2u)/dx
  return sigmoid + sigmoid * (e * sigmoid) * slope;
}

inline float silu(float x) { return x / (1.0F + exp_f32(-x)); }

inline float silu_derivative(float x) {
  const float e = exp_f32(-x);
  const float sigmoid = 1.0F / (1.0F + e);  // 1 - sigmoid = e sigmoid, without cancellation
  return sigmoid + sigmoid * (e * sigmoid) * x;
}

constexpr int64_t kLanes = 32;

// Adds the lanes: 16 + 16, 8 + 8, ... .
template <typename T>
inline T fold_sum(T* lanes) {
  for (int64_t width = kLanes / 2; width > 0; width /= 2) {
    for (int64_t i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  }
  return lanes[0];
}

// Sum of element(i) over [0, count), accumulated in T.
template <typename T, typename Element>
inline T lane_sum(int64_t count, Element&& element) {
  T lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) lanes[lane] += element(i + lane);
  }
  for (int64_t lane = 0; i + lane < count; ++lane) lanes[lane] += element(i + lane);
  return fold_sum(lanes);
}

// Maximum of element(i) over [0, count), count > 0. NaNs may be passed over.
template <typename Element>
inline float lane_max(int64_t count, Element&& element) {
  float lanes[kLanes];
  for (float& lane : lanes) lane = -std::numeric_limits<float>::infinity();
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      const float value = element(i + lane);
      lanes[lane] = value > lanes[lane] ? value : lanes[lane];
    }
  }
  for (int64_t lane = 0; i + lane < count; ++lane) {
    const float value = element(i + lane);
    lanes[lane] = value > lanes[lane] ? value : lanes[lane];
  }
  float largest = lanes[0];
  for (int64_t lane = 1; lane < kLanes; ++lane)
    largest = lanes[lane] > largest ? lanes[lane] : largest;
  return largest;
}

}  // namespace leasehold::cpu
