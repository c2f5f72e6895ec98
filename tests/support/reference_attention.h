// Computes attention to the keys and values of earlier passes, with plain loops in double.
#pragma once

#include "runtime/tensor/kernels.h"

namespace leasehold {

// Computes Kernels::attention_cached with S positions in kv.
void reference_attention_cached(const AttentionShape& shape, int64_t S, const double* qkv,
                                double* kv, double* out);

}  // namespace leasehold
