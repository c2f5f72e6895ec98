// Layer norm (Ba, Kiros and Hinton, arXiv:1607.06450) or RMS norm (Zhang and Sennrich,
// arXiv:1910.07467), with a residual addition in front.
#pragma once

#include <string>
#include <vector>

#include "models/describe.h"
#include "runtime/module/module.h"

namespace leasehold {

class Norm {
 public:
  // Statistics that backward needs as well as the input of the norm.
  struct Statistics {
    Tensor mean;  // (N), N being the rows of this rank; absent for RMS norm
    Tensor rstd;  // (N)
  };

  // Takes the parameters NAME.weight and, for layer norm, NAME.bias, both (C).
  Norm(const ModelConfig& config, ParameterTable& parameters, const std::string& name);

  std::vector<Parameter*> parameters() const;

  // Computes sum = x + dropout(delta) and y = norm(sum), all (N, C). sum may alias x or delta.
  // Without delta (and sum) computes y = norm(x).
  void forward(StepContext& context, Tensor x, Tensor delta, const Dropout& dropout, Tensor sum,
               Tensor y, const Statistics& statistics) const;
  // Computes the parameters' gradients over this rank's rows, and dx = dresidual (if given) + the
  // gradient through the norm of `input`. dx may alias dresidual or dy. `workspace` is from
  // allocate_workspace.
  void backward(StepContext& context, Tensor dy, Tensor input, const Statistics& statistics,
                Tensor dresidual, Tensor dx, Tensor workspace) const;

  // Allocate memory for this rank's rows of one microbatch.
  Statistics allocate_statistics(const PrepareContext& context, Arena& arena) const;
  Tensor allocate_workspace(const PrepareContext& context) const;  // u8

 private:
  Parameter* weight_;
  Parameter* bias_;  // null: RMS norm
  double eps_;
};

}  // namespace leasehold
