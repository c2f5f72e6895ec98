// Cross-entropy of the reference kernels, whole and in shards of the vocabulary: plain loops in
// double, on the calling thread. Contracts: runtime/tensor/kernels.h.
#pragma once

#include <cstdint>

#include "runtime/tensor/kernels.h"

namespace leasehold::reference {

// Returns the loss. Rows of logits begin `stride` elements apart, here and below.
double cross_entropy(int64_t N, int64_t V, int64_t stride, double* logits, const int32_t* targets,
                     double gradient_scale);
void cross_entropy_statistics(int64_t N, int64_t V, int64_t stride, double* logits,
                              const int32_t* targets, const VocabularyShard& shard,
                              bool for_gradient, double* statistics);
// Returns the loss. Does not read logits if gradient_scale is 0.
double cross_entropy_from_statistics(int64_t N, int64_t V, int64_t stride, const double* statistics,
                                     const int32_t* targets, const VocabularyShard& shard,
                                     double gradient_scale, double* logits);

}  // namespace leasehold::reference
