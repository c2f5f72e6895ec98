// Plain attention to what earlier passes kept, in double.
#pragma once

#include "runtime/tensor/kernels.h"

namespace leasehold {

// Kernels::attention_cached with S positions in kv.
void reference_attention_cached(const AttentionShape& shape, int64_t S, const double* qkv,
                                double* kv, double* out);

}  // namespace leasehold
