// Dropout's factors by the plain form of runtime/base/vectors.h, which other processors take.
#pragma once

#include <cstdint>

#include "runtime/tensor/kernels.h"

namespace leasehold::cpu {

// As dropout_factors (runtime/tensor/kernels_cpu_dropout.h), and its source.
void plain_dropout_factors(const Dropout& dropout, int64_t first, int64_t count, float* factors);

}  // namespace leasehold::cpu
