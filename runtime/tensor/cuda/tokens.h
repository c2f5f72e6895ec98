// Tokens as kernels see them: where a token lies in the table here, and which are bad.
#pragma once

#include "runtime/tensor/cuda/embedding.h"
#include "runtime/tensor/cuda/fault.h"

namespace leasehold::cuda {

constexpr int64_t kElsewhere = -1;

// The row of token i in the table here; kElsewhere if another shard has it, or for a fault, which
// is reported by the calling thread if it `reports`.
__device__ inline int64_t table_row(const Tokens& tokens, int64_t i, bool reports) {
  const int32_t id = tokens.ids[i];
  if (id < 0 || id >= tokens.num_shards * tokens.V) {
    if (reports) report_fault(tokens.fault, CudaFault::kToken, id);
    return kElsewhere;
  }
  const int64_t row = id - tokens.shard_index * tokens.V;
  return row >= 0 && row < tokens.V ? row : kElsewhere;
}

}  // namespace leasehold::cuda
