// GELU in its tanh form, and its derivative, for kernels: the formula of Activation::kGelu
// (runtime/tensor/kernels.h).
#pragma once

#include "runtime/tensor/cuda/dialect.h"

namespace leasehold::cuda {

constexpr float kGeluScale = 0.7978845608028654F;  // sqrt(2 / pi)
constexpr float kGeluCubic = 0.044715F;

__device__ inline float gelu(float x) {
  return 0.5F * x * (1 + tanhf(kGeluScale * (x + kGeluCubic * x * x * x)));
}

__device__ inline float gelu_derivative(float x) {
  const float t = tanhf(kGeluScale * (x + kGeluCubic * x * x * x));
  const float slope = kGeluScale * (1 + 3 * kGeluCubic * x * x);
  return 0.5F * (1 + t) + 0.5F * x * (1 - t * t) * slope;
}

}  // namespace leasehold::cuda
