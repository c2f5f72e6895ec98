// Chooses the next token by the model's logits and a random number. Pure.
#pragma once

#include <cstdint>
#include <span>

namespace leasehold {

struct TokenChoice {
  double temperature = 0.8;  // 0: always the likeliest
  int64_t top_k = 0;         // number of likeliest tokens to draw from; 0: all
  // Draw from the fewest of the likeliest tokens whose probabilities sum to this; 1: all (Holtzman
  // et al., arXiv:1904.09751).
  double top_p = 1;
};

// Draws a token from softmax(logits / temperature) with `uniform` in [0, 1). First only the top_k
// likeliest tokens are kept; of these, with probabilities among themselves, only the top_p. Equally
// likely tokens are ordered by id, also where either cut falls. At least one token is kept.
// `logits` must be finite, and at least one.
int32_t choose_token(std::span<const float> logits, const TokenChoice& choice, double uniform);

}  // namespace leasehold
