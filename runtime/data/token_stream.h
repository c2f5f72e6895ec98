// Decodes tokens that arrive one by one, as `leasehold-train sample` shows them. An incomplete
// character is held back until the rest of it arrives.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "runtime/data/tokenizer.h"

namespace leasehold {

class TokenStream {
 public:
  // Makes a stream for `tokenizer`, which must outlive it.
  explicit TokenStream(const Tokenizer& tokenizer) : tokenizer_(&tokenizer) {}

  // Takes tokens whose text is already shown (a prompt). Fails like Tokenizer::decode.
  Status skip(std::span<const int32_t> ids);
  // Takes one token and returns the text that it adds, which may be empty. The cost does not depend
  // on the length of the text.
  Result<std::string> push(int32_t id);
  // Returns the text that was held back.
  std::string finish();

 private:
  Status keep_newest(size_t held);

  const Tokenizer* tokenizer_;
  std::vector<int32_t> ids_;  // the newest ids: a token's text may depend on those before it
  std::string whole_;         // their text
  std::string shown_;
};

}  // namespace leasehold
