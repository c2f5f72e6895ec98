#include "tests/support/reference_llama.h"

#include <cmath>
#include <numbers>

namespace leasehold {

namespace {

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// Returns the frequency, computed from wavelengths as Hugging Face's "llama3" defines it.
double rotary_frequency(const Rotary& rotary, int64_t i, int64_t D) {
  const double exponent = 2 * static_cast<double>(i) / static_cast<double>(D);
  const double frequency = 1 / std::pow(rotary.theta, exponent);
  if (rotary.factor == 0) return frequency;
  const auto original = static_cast<double>(rotary.original_sequence);
  const double low = rotary.low_freq_factor, high = rotary.high_freq_factor;
  const double wavelength = 2 * std::numbers::pi / frequency;
  if (wavelength > original / low) return frequency / rotary.factor;
  if (wavelength < original / high) return frequency;
  const double smooth = (original / wavelength - low) / (high - low);
  return (1 - smooth) * frequency / rotary.factor + smooth * frequency;
}

}  // namespace

void reference_swiglu_forward(int64_t N, int64_t F, const double* gate_up, double* y) {
  for (int64_t n = 0; n < N; ++n) {
    for (int64_t f = 0; f < F; ++f) {
      const double gate = gate_up[n * 2 * F + f];
      y[n * F + f] = gate * sigmoid(gate) * gate_up[n * 2 * F + F + f];
    }
  }
}

void reference_swiglu_backward(int64_t N, int64_t F, const double* dy, const double* gate_up,
                               double* dgate_up) {
  for (int64_t n = 0; n < N; ++n) {
    for (int64_t f = 0; f < F; ++f) {
      const int64_t at = n * 2 * F + f;
      const double gate = gate_up[at], up = gate_up[at + F], s = sigmoid(gate);
      dgate_up[at] = dy[n * F + f] * up * (s + gate * s * (1 - s));
      dgate_up[at + F] = dy[n * F + f] * gate * s;
    }
  }
}

void reference_rotary(const AttentionShape& shape, const Rotary& rotary, double* qkv,
                      bool backward) {
  const int64_t D = shape.D, num_slots = shape.B * shape.T * shape.G * (shape.R + 2);
  for (int64_t slot = 0; slot < num_slots; ++slot) {
    if (slot % (shape.R + 2) == shape.R + 1) continue;  // values do not turn
    const int64_t t = shape.first_position + slot / (shape.R + 2) / shape.G % shape.T;
    for (int64_t i = 0; i < D / 2; ++i) {
      const double forward = static_cast<double>(t) * rotary_frequency(rotary, i, D);
      const double angle = backward ? -forward : forward;
      double& x = qkv[slot * D + i];
      double& y = qkv[slot * D + D / 2 + i];
      const double turned = x * std::cos(angle) - y * std::sin(angle);
      y = x * std::sin(angle) + y * std::cos(angle);
      x = turned;
    }
  }
}

}  // namespace leasehold
