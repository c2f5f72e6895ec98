#include "models/norm.h"

#include "models/boundaries.h"
#include "models/family.h"

namespace leasehold {

Norm::Norm(const ModelConfig& config, ParameterTable& parameters, const std::string& name)
    : weight_(&parameters.at(name + ".weight")),
      bias_(family_options(config).rms_norm ? nullptr : &parameters.at(name + ".bias")),
      eps_(config.norm_eps) {}

std::vector<Parameter*> Norm::parameters() const {
  return bias_ == nullptr ? std::vector<Parameter*>{weight_}
                          : std::vector<Parameter*>{weight_, bias_};
}

void Norm::forward(StepContext& context, Tensor x, Tensor delta, const Dropout& dropout, Tensor sum,
                   Tensor y, const Statistics& statistics) const {
  if (bias_ == nullptr) {
    context.kernels.rms_norm_forward(context.stream, x, delta, dropout, sum, weight_->value(), eps_,
                                     y, statistics.rstd);
  } else {
    context.kernels.layer_norm_forward(context.stream, x, delta, dropout, sum, weight_->value(),
                                       bias_->value(), eps_, y, statistics.mean, statistics.rstd);
  }
}

void Norm::backward(StepContext& context, Tensor dy, Tensor input, const Statistics& statistics,
                    Tensor dresidual, Tensor dx, Tensor workspace) const {
  if (bias_ == nullptr) {
    context.kernels.rms_norm_backward(context.stream, dy, input, weight_->value(), statistics.rstd,
                                      dresidual, dx, weight_->gradient(), context.gradients,
                                      workspace);
  } else {
    context.kernels.layer_norm_backward(
        context.stream, dy, input, weight_->value(), statistics.mean, statistics.rstd, dresidual,
        dx, weight_->gradient(), bias_->gradient(), context.gradients, workspace);
  }
}

Norm::Statistics Norm::allocate_statistics(const PrepareContext& context, Arena& arena) const {
  const Shape shape{shard_rows(context)};
  Statistics statistics;
  if (bias_ != nullptr) statistics.mean = arena.allocate(context.kernels.gradient_dtype(), shape);
  statistics.rstd = arena.allocate(context.kernels.gradient_dtype(), shape);
  return statistics;
}

Tensor Norm::allocate_workspace(const PrepareContext& context) const {
  const int64_t N = shard_rows(context), C = weight_->local_shape()[0];
  const Kernels& kernels = context.kernels;
  return context.scratch.allocate(
      DType::kU8, {bias_ == nullptr ? kernels.rms_norm_backward_workspace_bytes(N, C)
                                    : kernels.layer_norm_backward_workspace_bytes(N, C)});
}

}  // namespace leasehold
