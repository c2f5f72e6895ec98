// Predicts the next token with a checkpoint's model.
#pragma once

#include <memory>

#include "launch/checkpoint_model.h"
#include "launch/next_token.h"

namespace leasehold {

// Returns a NextToken for a text of at most `num_tokens`. It keeps keys and values if the device's
// kernels can (models/decoder.h); when the model's positions are used up, it computes the newest
// half of them again as a text of its own. On other devices (CUDA) it computes the model's newest
// window for each token. Fails with kBadConfig, naming the size, if this machine has too little
// memory for keys and values. `model` must outlive the result.
Result<std::unique_ptr<NextToken>> create_next_token(CheckpointModel& model, int64_t num_tokens);

}  // namespace leasehold
