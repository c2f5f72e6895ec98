// A transformer block with the norms in front (Radford et al., GPT-2): x + attention(norm(x)), then
// + mlp(norm(.)). With Recompute::kBlock it keeps only its input and runs forward again in
// backward, in scratch that all blocks share.
#pragma once

#include <memory>
#include <string>

#include "models/attention.h"
#include "models/mlp.h"
#include "models/norm.h"

namespace leasehold {

// A unit that maps (N, C) to (N, C), where N counts this rank's rows of the residual stream.
// input_gradient may alias output_gradient: the gradient of the residual stream stays in place.
class Block : public Module {
 public:
  Block(const ModelConfig& config, ParameterTable& parameters, const std::string& name);

  std::unique_ptr<Saved> prepare(const PrepareContext& context) const override;

 protected:
  void do_forward(StepContext& context, Tensor input, Tensor output, Saved& saved) override;
  void do_backward(StepContext& context, Tensor output_gradient, Tensor input_gradient,
                   Saved& saved) override;

 private:
  // Runs forward up to the mlp's input.
  void attend(StepContext& context, Saved& saved);

  int64_t C_;
  Norm attention_norm_;
  Attention attention_;
  DropoutSite attention_dropout_;  // of the attention branch
  Norm mlp_norm_;
  Mlp mlp_;
  DropoutSite mlp_dropout_;
};

}  // namespace leasehold
