// Dropout's factors, drawn again wherever they are needed.
#pragma once

#include <cstdint>

#include "runtime/tensor/kernels.h"

namespace leasehold::cpu {

// Elements that callers ask for at once, so that the factors fit on the stack.
constexpr int64_t kDropoutBlock = 256;

// factors[i] = 0 where element first + i of the tensor is dropped, else 1 / (1 - p); count <=
// kDropoutBlock, p > 0.
void dropout_factors(const Dropout& dropout, int64_t first, int64_t count, float* factors);

// apply(begin, count, factors) for consecutive pieces of [0, count), `first` being the tensor's
// element at 0; factors null when nothing is dropped, and then in one piece.
template <typename Apply>
void for_each_dropout_piece(const Dropout& dropout, int64_t first, int64_t count, Apply&& apply) {
  if (dropout.p == 0) return apply(int64_t{0}, count, static_cast<const float*>(nullptr));
  float factors[kDropoutBlock];
  for (int64_t begin = 0; begin < count; begin += kDropoutBlock) {
    const int64_t piece = count - begin < kDropoutBlock ? count - begin : kDropoutBlock;
    dropout_factors(dropout, first + begin, piece, factors);
    apply(begin, piece, static_cast<const float*>(factors));
  }
}

}  // namespace leasehold::cpu
