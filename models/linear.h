// Computes y = x weight^T + bias with a parameter's local shape: (out..., in), whatever the logical
// dims of `out`. If `in` is cut over the tensor axis, y is this rank's part of a sum over the axis.
// The first rank adds the bias to its part, and its gradient of the bias is the whole gradient.
#pragma once

#include <string>
#include <vector>

#include "runtime/module/module.h"

namespace leasehold {

class Linear {
 public:
  // Takes the parameters NAME.weight (O..., K), whose last dim is the input, and NAME.bias (O...),
  // if there is one.
  Linear(ParameterTable& parameters, const std::string& name, bool has_bias);

  Parameter& weight() const { return *weight_; }
  std::vector<Parameter*> parameters() const;
  int64_t in() const { return in_; }    // K
  int64_t out() const { return out_; }  // O

  // Computes y (N, O) from x (N, K). With kGelu, `pre` (N, O) receives the value before the
  // activation; it is absent if no backward follows.
  void forward(StepContext& context, Tensor x, Tensor y, Activation activation = Activation::kNone,
               Tensor pre = {}) const;
  // Computes the parameters' gradients, and dx (N, K) from dy (N, O) and the x of forward.
  // `activation` and `pre` (N, K) are those of the linear that made x; dx is then the gradient
  // before its activation. dx may alias x.
  void backward(StepContext& context, Tensor dy, Tensor x, Tensor dx,
                Activation activation = Activation::kNone, Tensor pre = {}) const;

 private:
  bool adds_bias(const StepContext& context) const;

  Parameter* weight_;
  Parameter* bias_ = nullptr;
  bool is_partial_;  // `in` is cut
  int64_t in_;
  int64_t out_;
};

}  // namespace leasehold
