#include "models/norm.h"

namespace leasehold {

Norm::Statistics Norm::Statistics::allocate(const PrepareContext& context, Arena& arena) {
  const Shape shape{context.B * context.T};
  return {arena.allocate(context.kernels.dtype(), shape),
          arena.allocate(context.kernels.dtype(), shape)};
}

void Norm::forward(StepContext& context, Tensor x, Tensor delta, const Dropout& dropout, Tensor sum,
                   Tensor y, const Statistics& statistics) const {
  context.kernels.layer_norm_forward(context.stream, x, delta, dropout, sum, weight_->value(),
                                     bias_->value(), y, statistics.mean, statistics.rstd);
}

void Norm::backward(StepContext& context, Tensor dy, Tensor input, const Statistics& statistics,
                    Tensor dresidual, Tensor dx, Tensor workspace) const {
  context.kernels.layer_norm_backward(context.stream, dy, input, weight_->value(), statistics.mean,
                                      statistics.rstd, dresidual, dx, weight_->gradient(),
                                      bias_->gradient(), context.gradients, workspace);
}

Tensor Norm::allocate_workspace(const PrepareContext& context) const {
  const int64_t N = context.B * context.T;
  return context.scratch.allocate(DType::kU8, {context.kernels.layer_norm_backward_workspace_bytes(
                                                  N, weight_->local_shape()[0])});
}

}  // namespace leasehold
