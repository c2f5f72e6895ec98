// Generates text token by token: asks for logits, chooses a token and shows its text.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "launch/choose_token.h"
#include "launch/next_token.h"
#include "runtime/data/tokenizer.h"

namespace leasehold {

struct Generation {
  int64_t tokens = 256;     // at most
  bool ignore_end = false;  // continue after a token that ends a text
  TokenChoice choice;
  int64_t seed = 0;  // token i is drawn with a number that depends on (seed, i) alone
};

// Continues `ids` by generation.tokens, or until a token that ends a text is drawn, which is not
// shown. Gives `show` the text of each new token in whole characters. Never draws an id that the
// tokenizer lacks. Fails with kBadData if `ids` is empty or a logit is not finite, and with the
// errors of `model` and `tokenizer`.
Status generate(NextToken& model, const Tokenizer& tokenizer, std::vector<int32_t> ids,
                const Generation& generation, const std::function<void(std::string_view)>& show);

}  // namespace leasehold
