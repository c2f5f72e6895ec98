// Computes attention to the keys and values of earlier passes, with plain loops in double.
#pragma once

#include "runtime/tensor/kernels.h"

namespace leasehold {

// Computes Kernels::attention_cached with S positions in kv.
void reference_attention_cached(const AttentionShape& shape, int64_t S, const double* qkv,
                                double* kv, double* out);

// Error bounds of attention's outputs, element by element, shaped like them.
struct AttentionBounds {
  double* out = nullptr;
  double* log_sum_exp = nullptr;
  double* dqkv = nullptr;
};
// The sums of the magnitudes of each element's terms, each as often as an error of a score, which
// is a share of its own terms, makes the probability wrong.
void attention_terms(const AttentionShape& shape, const Dropout& dropout, const double* qkv,
                     const double* dout, const AttentionBounds& bounds);
// Computes the errors of what Kernels rounds to bf16 inside: P F, dS, and in dS the share of the
// rounded `out` that backward begins with.
void attention_rounded_inside(const AttentionShape& shape, const Dropout& dropout,
                              const double* qkv, const double* dout, const AttentionBounds& bounds);

}  // namespace leasehold
