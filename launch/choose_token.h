// Chooses the next token, by the model's logits and chance. Pure.
#pragma once

#include <cstdint>
#include <span>

namespace leasehold {

struct TokenChoice {
  double temperature = 0.8;  // 0: always the likeliest
  int64_t top_k = 0;         // draw from this many of the likeliest; 0: all
  // Draw from the fewest of the likeliest whose probabilities come to this much; 1: all (Holtzman
  // et al., arXiv:1904.09751).
  double top_p = 1;
};

// Draws with `uniform` in [0, 1) from softmax(logits / temperature) over the tokens that are left:
// first the top_k likeliest, then of these, with probabilities among themselves, the top_p. Equally
// likely tokens are in order of their ids, also at both borders. At least one token is left. Logits
// are finite, at least one.
int32_t choose_token(std::span<const float> logits, const TokenChoice& choice, double uniform);

}  // namespace leasehold
