// The feed-forward half of a block: two linears with GELU or SwiGLU between them.
#pragma once

#include <memory>
#include <string>

#include "models/describe.h"
#include "models/linear.h"

namespace leasehold {

// Maps (N, C) to (N, C), where N counts this rank's rows of the residual stream. The inside is cut
// over the tensor axis. input_gradient must not alias output_gradient.
class Mlp : public Module {
 public:
  Mlp(const ModelConfig& config, ParameterTable& parameters, const std::string& name);

  std::unique_ptr<Saved> prepare(const PrepareContext& context) const override;

  // Runs the part of forward that backward needs: everything but the output.
  void recompute(StepContext& context, Tensor input, Saved& saved);

 protected:
  void do_forward(StepContext& context, Tensor input, Tensor output, Saved& saved) override;
  void do_backward(StepContext& context, Tensor output_gradient, Tensor input_gradient,
                   Saved& saved) override;

 private:
  bool gated_;
  Linear expand_;  // to one channel for each inside, or to two: gate and up
  Linear projection_;
};

}  // namespace leasehold
