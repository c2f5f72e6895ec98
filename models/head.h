// The end of a model: the final norm, the unembedding by the token table or a matrix of its own,
// and the loss.
#pragma once

#include <memory>
#include <string>

#include "models/norm.h"

namespace leasehold {

// A unit. Input (N, C), N being the rows of the residual stream here, no output: writes the
// microbatch's loss, and its logits when asked. Writes gradient slot 1 of the token table, or the
// gradient of head.weight. input_gradient may not alias anything; there is no output_gradient.
//
// The vocabulary is cut over the tensor axis: a rank makes the logits of all rows for its part,
// which it never shows to others; statistics of each row travel, and all ranks make the same loss
// of them. Logits are given out by one rank alone.
//
// Logits exist for a chunk of rows at a time, in scratch. Where a backward follows, forward only
// keeps its input: backward makes a chunk's logits, turns them into the loss and their own gradient
// in place, and uses that at once.
class Head : public Module {
 public:
  // `chunk_rows`: of logits that exist at a time, 0: head_rows() (models/head_rows.h).
  Head(const ModelConfig& config, ParameterTable& parameters, const std::string& name,
       int64_t chunk_rows = 0);

  std::unique_ptr<Saved> prepare(const PrepareContext& context) const override;

 protected:
  void do_forward(StepContext& context, Tensor input, Tensor output, Saved& saved) override;
  void do_backward(StepContext& context, Tensor output_gradient, Tensor input_gradient,
                   Saved& saved) override;

 private:
  Norm norm_;
  Parameter* table_;  // (V, C)
  int slot_;          // of its gradient
  int64_t chunk_rows_;
};

}  // namespace leasehold
