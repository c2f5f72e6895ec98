// Layer norm (Ba, Kiros and Hinton, arXiv:1607.06450) or RMS norm (Zhang and Sennrich,
// arXiv:1910.07467), with a residual addition in front of it.
#pragma once

#include <string>
#include <vector>

#include "models/describe.h"
#include "runtime/module/module.h"

namespace leasehold {

class Norm {
 public:
  // What backward needs besides what was normalised.
  struct Statistics {
    Tensor mean;  // (N), N being the rows here; absent for RMS norm
    Tensor rstd;  // (N)
  };

  // Of the parameters NAME.weight and, for layer norm, NAME.bias, both (C).
  Norm(const ModelConfig& config, ParameterTable& parameters, const std::string& name);

  std::vector<Parameter*> parameters() const;

  // sum = x + dropout(delta); y = norm(sum). All (N, C); sum may alias x or delta. Without delta
  // (and sum), norm(x).
  void forward(StepContext& context, Tensor x, Tensor delta, const Dropout& dropout, Tensor sum,
               Tensor y, const Statistics& statistics) const;
  // The parameters' gradients (of the rows here), and dx = dresidual (or nothing) + what comes
  // through the norm of `input`. dx may alias dresidual or dy. workspace: workspace_bytes.
  void backward(StepContext& context, Tensor dy, Tensor input, const Statistics& statistics,
                Tensor dresidual, Tensor dx, Tensor workspace) const;

  // For the rows of one microbatch that are here.
  Statistics allocate_statistics(const PrepareContext& context, Arena& arena) const;
  Tensor allocate_workspace(const PrepareContext& context) const;  // u8

 private:
  Parameter* weight_;
  Parameter* bias_;  // null: RMS norm
  double eps_;
};

}  // namespace leasehold
