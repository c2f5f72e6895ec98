// Launcher of rotary positions (contract: Kernels::rotary_forward and _backward in
// runtime/tensor/kernels.h).
#pragma once

#include "runtime/tensor/cuda/attention.h"

namespace leasehold::cuda {

// leasehold::Rotary.
struct RotaryFrequencies {
  double theta = 10000;
  double factor = 0;  // 0: no scaling
  double low_freq_factor = 1;
  double high_freq_factor = 4;
  double original_sequence = 8192;
};

// Turns queries and keys in qkv (B, T, G, R + 2, D), D even, by their positions, in place; with
// `backward` back. Angles, sines and cosines are formed in double, once for a position and pair of
// channels. T is float or __nv_bfloat16.
template <typename T>
void rotary(const AttentionSizes& sizes, const RotaryFrequencies& frequencies, T* qkv,
            bool backward, cudaStream_t stream);

}  // namespace leasehold::cuda
