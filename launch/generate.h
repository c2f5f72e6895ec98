// Text token by token: asks for logits, chooses, shows.
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

// Continues `ids` and gives `show` the text of each new token in whole characters, until a token
// that ends a text is drawn, which is not shown. Ids that the tokenizer does not have are not
// drawn. kBadData where there are no ids or logits are no numbers; else the errors of `model` and
// `tokenizer`.
Status generate(NextToken& model, const Tokenizer& tokenizer, std::vector<int32_t> ids,
                const Generation& generation, const std::function<void(std::string_view)>& show);

}  // namespace leasehold
