#include "models/linear.h"

#include "models/boundaries.h"

namespace leasehold {

Linear::Linear(ParameterTable& parameters, const std::string& name, bool has_bias)
    : weight_(&parameters.at(name + ".weight")) {
  const Shape& shape = weight_->local_shape();
  LEASEHOLD_CHECK(shape.num_dims() >= 2, "{}: shape {}", name, shape.to_string());
  const int last = shape.num_dims() - 1;
  is_partial_ = weight_->spec().placement[static_cast<size_t>(last)] == Axis::kTensor;
  in_ = shape[last];
  out_ = shape.num_elements() / in_;
  if (!has_bias) return;
  bias_ = &parameters.at(name + ".bias");
  LEASEHOLD_CHECK(bias_->local_shape().num_elements() == out_, "{}: weight {} with bias {}", name,
                  shape.to_string(), bias_->local_shape().to_string());
}

std::vector<Parameter*> Linear::parameters() const {
  return bias_ == nullptr ? std::vector<Parameter*>{weight_}
                          : std::vector<Parameter*>{weight_, bias_};
}

bool Linear::adds_bias(const StepContext& context) const {
  return bias_ != nullptr && (!is_partial_ || tensor_rank(context.tensor) == 0);
}

void Linear::forward(StepContext& context, Tensor x, Tensor y, Activation activation,
                     Tensor pre) const {
  const Tensor bias = adds_bias(context) ? bias_->value().reshape({out_}) : Tensor();
  context.kernels.linear_forward(context.stream, x, weight_->value().reshape({out_, in_}), bias,
                                 activation, pre, y);
}

void Linear::backward(StepContext& context, Tensor dy, Tensor x, Tensor dx, Activation activation,
                      Tensor pre) const {
  const bool added = adds_bias(context);
  const Tensor bias_gradient = added ? bias_->gradient().reshape({out_}) : Tensor();
  context.kernels.linear_backward_weight(context.stream, dy, x,
                                         weight_->gradient().reshape({out_, in_}), bias_gradient,
                                         context.gradients);
  if (bias_ != nullptr && !added && context.gradients == Write::kOverwrite)
    context.kernels.fill(context.stream, bias_->gradient(), 0);
  context.kernels.linear_backward_input(context.stream, dy, weight_->value().reshape({out_, in_}),
                                        activation, pre, dx, Write::kOverwrite);
}

}  // namespace leasehold
