// Causal self-attention: one packed projection to queries, keys and values, rotary positions where
// the family has them, attention, and the projection back.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "models/describe.h"
#include "models/dropout.h"
#include "models/linear.h"

namespace leasehold {

// Maps (N, C) to (N, C), where N counts this rank's rows of the residual stream. Heads are cut over
// the tensor axis: a rank has all positions of its own heads. input_gradient must not alias
// output_gradient.
class Attention : public Module {
 public:
  Attention(const ModelConfig& config, ParameterTable& parameters, const std::string& name);

  std::unique_ptr<Saved> prepare(const PrepareContext& context) const override;

 protected:
  void do_forward(StepContext& context, Tensor input, Tensor output, Saved& saved) override;
  void do_backward(StepContext& context, Tensor output_gradient, Tensor input_gradient,
                   Saved& saved) override;

 private:
  // Computes queries, keys and values, and attention, into `saved`.
  void attend(StepContext& context, Saved& saved) const;

  Linear qkv_;
  Linear projection_;
  std::optional<Rotary> rotary_;
  DropoutSite dropout_;   // of the attention probabilities
  AttentionShape shape_;  // without B and T
};

}  // namespace leasehold
