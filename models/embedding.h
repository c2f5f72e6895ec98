// The beginning of a model: token vectors, with the position table's added where the family has
// one, and dropout.
#pragma once

#include <memory>
#include <string>

#include "models/describe.h"
#include "models/dropout.h"
#include "runtime/module/module.h"

namespace leasehold {

// A unit. No input: reads the microbatch's tokens. Output (N, C), N being the rows of the residual
// stream here. The vocabulary is cut over the tensor axis; positions are in the part of its first
// rank, whose gradient of them is the whole. Writes gradient slot 0 of the token table.
class Embedding : public Module {
 public:
  Embedding(const ModelConfig& config, ParameterTable& parameters, const std::string& name);

  std::unique_ptr<Saved> prepare(const PrepareContext& context) const override;

 protected:
  void do_forward(StepContext& context, Tensor input, Tensor output, Saved& saved) override;
  void do_backward(StepContext& context, Tensor output_gradient, Tensor input_gradient,
                   Saved& saved) override;

 private:
  bool adds_positions(const StepContext& context) const;

  Parameter* token_;               // (V, C)
  Parameter* position_ = nullptr;  // (sequence, C), or none
  DropoutSite dropout_;
};

}  // namespace leasehold
