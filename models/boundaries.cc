#include "models/boundaries.h"

#include "models/describe_tensor.h"

namespace leasehold {

int64_t shard_rows(const PrepareContext& context) {
  const int64_t t = num_tensor_ranks(context.tensor);
  throw_if_error(check_tensor_rows(context.B, context.T, t));
  return context.B * context.T / t;
}

Boundary::Boundary(const PrepareContext& context, int64_t C) {
  const int64_t t = num_tensor_ranks(context.tensor);
  if (t == 1) return;
  const int64_t rows = shard_rows(context);
  const DType dtype = context.kernels.dtype();
  whole_ = context.scratch.allocate(dtype, {t * rows, C});
  parts_ = context.scratch.allocate(dtype, {t, rows, C});
  for (int64_t rank = 0; rank < t; ++rank) {
    sends_.push_back(whole_.rows(rank * rows, rows));
    receives_.push_back(parts_.rows(rank, 1).reshape({rows, C}));
  }
}

Tensor Boundary::gather(StepContext& context, Tensor shard) const {
  if (!whole_.present()) return shard;
  context.tensor->all_gather(shard, whole_, context.stream).then(context.stream);
  return whole_;
}

void Boundary::sum_scatter(StepContext& context, Tensor shard) const {
  if (!whole_.present()) return;
  context.tensor->all_to_all(sends_, receives_, context.stream).then(context.stream);
  context.kernels.sum_parts(context.stream, parts_, shard);
}

}  // namespace leasehold
