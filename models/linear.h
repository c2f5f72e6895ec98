// y = x weight^T + bias with a parameter's local shape: (out..., in) whatever the logical dims of
// `out` are. Cut over the tensor axis by `in`, y is this rank's part of a sum over the axis, and
// the bias is in the part of its first rank, whose gradient of the bias is the whole.
#pragma once

#include <string>
#include <vector>

#include "runtime/module/module.h"

namespace leasehold {

class Linear {
 public:
  // Of the parameters NAME.weight (O..., K), whose last dim is the input, and NAME.bias (O...), if
  // it has one.
  Linear(ParameterTable& parameters, const std::string& name, bool has_bias);

  Parameter& weight() const { return *weight_; }
  std::vector<Parameter*> parameters() const;
  int64_t in() const { return in_; }    // K
  int64_t out() const { return out_; }  // O

  // y (N, O) from x (N, K). With kGelu, `pre` (N, O) gets the value before the activation; absent
  // without a backward.
  void forward(StepContext& context, Tensor x, Tensor y, Activation activation = Activation::kNone,
               Tensor pre = {}) const;
  // The parameters' gradients, and dx (N, K) from dy (N, O) and the x that forward saw.
  // `activation` and `pre` (N, K) are those of the linear that made x: dx is then the gradient
  // before its activation. dx may alias x.
  void backward(StepContext& context, Tensor dy, Tensor x, Tensor dx,
                Activation activation = Activation::kNone, Tensor pre = {}) const;

 private:
  bool adds_bias(const StepContext& context) const;

  Parameter* weight_;
  Parameter* bias_ = nullptr;
  bool is_partial_;  // cut by `in`
  int64_t in_;
  int64_t out_;
};

}  // namespace leasehold
