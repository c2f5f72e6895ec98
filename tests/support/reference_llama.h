// The reference kernels' operations that only the Llama family has, in plain loops over double.
// runtime/tensor/kernels.h has the letters and contracts.
#pragma once

#include <cstdint>

#include "runtime/tensor/kernels.h"

namespace leasehold {

void reference_swiglu_forward(int64_t N, int64_t F, const double* gate_up, double* y);
void reference_swiglu_backward(int64_t N, int64_t F, const double* dy, const double* gate_up,
                               double* dgate_up);
void reference_rotary(const AttentionShape& shape, const Rotary& rotary, double* qkv,
                      bool backward);

}  // namespace leasehold
