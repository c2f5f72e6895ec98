// Layer norm with a residual addition in front of it (Ba, Kiros and Hinton, arXiv:1607.06450).
#pragma once

#include <string>

#include "runtime/module/module.h"

namespace leasehold {

class Norm {
 public:
  // What backward needs besides what was normalised.
  struct Statistics {
    Tensor mean;  // (N)
    Tensor rstd;  // (N)
    static Statistics allocate(const PrepareContext& context, Arena& arena);
  };

  // Of the parameters NAME.weight and NAME.bias, both (C).
  Norm(ParameterTable& parameters, const std::string& name)
      : weight_(&parameters.at(name + ".weight")), bias_(&parameters.at(name + ".bias")) {}

  Parameter& weight() const { return *weight_; }
  Parameter& bias() const { return *bias_; }

  // sum = x + dropout(delta); y = norm(sum). All (N, C); sum may alias x or delta. Without delta
  // (and sum), norm(x).
  void forward(StepContext& context, Tensor x, Tensor delta, const Dropout& dropout, Tensor sum,
               Tensor y, const Statistics& statistics) const;
  // The parameters' gradients, and dx = dresidual (or nothing) + what comes through the norm of
  // `input`. dx may alias dresidual or dy. workspace: workspace_bytes.
  void backward(StepContext& context, Tensor dy, Tensor input, const Statistics& statistics,
                Tensor dresidual, Tensor dx, Tensor workspace) const;

  // u8, for the tokens of one microbatch.
  Tensor allocate_workspace(const PrepareContext& context) const;

 private:
  Parameter* weight_;
  Parameter* bias_;
};

}  // namespace leasehold
