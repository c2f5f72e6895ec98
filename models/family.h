// The differences between the families, as options of one definition.
#pragma once

#include "models/describe.h"
#include "runtime/tensor/kernels.h"

namespace leasehold {

struct FamilyOptions {
  bool rms_norm = false;       // otherwise layer norm
  bool biases = true;          // in linears
  bool position_table = true;  // otherwise rotary positions
  bool gated_mlp = false;      // SwiGLU, otherwise GELU
  const char* expand = "fc";   // the mlp's first linear
};

inline FamilyOptions family_options(const ModelConfig& config) {
  if (config.family != "llama") return {};
  return {.rms_norm = true,
          .biases = false,
          .position_table = false,
          .gated_mlp = true,
          .expand = "gate_up"};
}

inline Rotary rotary_of(const ModelConfig& config) {
  return {.theta = config.rope_theta,
          .factor = config.rope_factor,
          .low_freq_factor = config.rope_low_freq_factor,
          .high_freq_factor = config.rope_high_freq_factor,
          .original_sequence = config.rope_original_sequence};
}

}  // namespace leasehold
