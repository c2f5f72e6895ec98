// NextToken by a checkpoint's model.
#pragma once

#include <memory>

#include "launch/checkpoint_model.h"
#include "launch/next_token.h"

namespace leasehold {

// Makes one for a text of at most `num_tokens`. It keeps keys and values where the device's kernels
// can (models/decoder.h); when the model's positions are used up, the newest half of them is
// computed again as a text of its own. Other devices (CUDA) compute the model's newest window for
// each token. kBadConfig, with the size, where this machine has too little memory to keep them.
// `model` must outlive the result.
Result<std::unique_ptr<NextToken>> create_next_token(CheckpointModel& model, int64_t num_tokens);

}  // namespace leasehold
