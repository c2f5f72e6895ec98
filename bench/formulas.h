// What operations cost at least: floating-point operations of products, and bytes read and written
// once. Letters as in runtime/tensor/kernels.h.
#pragma once

#include "runtime/tensor/kernels.h"

namespace leasehold {

// Of each of a linear's three products.
inline double linear_flops(int64_t N, int64_t K, int64_t O) {
  return 2.0 * static_cast<double>(N) * static_cast<double>(K) * static_cast<double>(O);
}

// One product over the causal half: T (T + 1) / 2 pairs of positions, 2 D operations each. Forward
// has two such products (q k^T, p v), backward five (those of q k^T and dout v^T, and those that
// give dq, dk, dv): Dao et al., arXiv:2205.14135, count the same.
inline double attention_product_flops(const AttentionShape& shape) {
  const auto T = static_cast<double>(shape.T);
  return static_cast<double>(shape.B * shape.H() * shape.D) * T * (T + 1);
}
inline double attention_forward_flops(const AttentionShape& shape) {
  return 2 * attention_product_flops(shape);
}
inline double attention_backward_flops(const AttentionShape& shape) {
  return 5 * attention_product_flops(shape);
}

}  // namespace leasehold
