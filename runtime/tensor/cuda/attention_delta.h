// The first step of attention's backward.
#pragma once

#include "runtime/tensor/cuda/attention.h"

namespace leasehold::cuda {

// work.workspace (B, H, T) = sum over channels of dout * out, in fp32 (Dao et al.,
// arXiv:2205.14135, appendix B.2: the sum over keys of P dP).
template <typename T>
void attention_delta(const AttentionBackward<T>& work, cudaStream_t stream);

}  // namespace leasehold::cuda
