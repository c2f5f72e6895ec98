// Predicts the token after a text that grows.
#pragma once

#include <cstdint>
#include <span>

#include "runtime/base/status.h"

namespace leasehold {

// A NextToken is a model with the text that it has read so far.
class NextToken {
 public:
  virtual ~NextToken() = default;
  // Returns the (V) logits of the token after `ids`, valid until the next call. Each call must give
  // the ids of the call before, and more. A text that outgrows the model's positions is continued
  // from its newest part.
  virtual Result<std::span<const float>> logits_after(std::span<const int32_t> ids) = 0;
};

}  // namespace leasehold
