// The feed-forward half of a block: two linears with GELU between them.
#pragma once

#include <memory>
#include <string>

#include "models/linear.h"

namespace leasehold {

// (N, C) -> (N, C). input_gradient may not alias output_gradient.
class Mlp : public Module {
 public:
  Mlp(ParameterTable& parameters, const std::string& name);

  std::unique_ptr<Saved> prepare(const PrepareContext& context) const override;

 protected:
  void do_forward(StepContext& context, Tensor input, Tensor output, Saved& saved) override;
  void do_backward(StepContext& context, Tensor output_gradient, Tensor input_gradient,
                   Saved& saved) override;

 private:
  Linear fc_;
  Linear projection_;
};

}  // namespace leasehold
