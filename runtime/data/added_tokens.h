// Tokens that are looked for in the text before anything else ("<|endoftext|>"): leftmost first, of
// those the longest. Some take the white space around them with them, as in Hugging Face's library.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace leasehold {

class AddedTokens {
 public:
  struct Token {
    std::string content;  // not empty
    int32_t id = -1;
    bool lstrip = false;  // with the white space in front of it
    bool rstrip = false;  // with the white space after it
  };
  explicit AddedTokens(std::vector<Token> tokens);

  bool empty() const { return tokens_.empty(); }

  struct Match {
    size_t begin = std::string_view::npos;  // npos: none
    size_t bytes = 0;
    const Token* token = nullptr;
  };
  // Finds the first one at or after `at`; white space around it is not part of the match.
  Match find(std::string_view text, size_t at) const;

 private:
  std::vector<Token> tokens_;          // by first byte, longest first
  std::array<uint32_t, 257> begin_{};  // of the tokens that start with a byte
};

// Count the bytes of Unicode's White_Space at the end and at the begin of `text`.
size_t white_bytes_at_end(std::string_view text);
size_t white_bytes_at_begin(std::string_view text);

// Calls text(part) for what lies between the tokens and token(id) for each, in order.
template <typename Text, typename Found>
void split_at_added(const AddedTokens& added, std::string_view whole, const Text& text,
                    const Found& found) {
  size_t at = 0;  // what is before is dealt out
  size_t from = 0;
  while (!added.empty() && from < whole.size()) {
    const AddedTokens::Match match = added.find(whole, from);
    if (match.begin == std::string_view::npos) break;
    from = match.begin + match.bytes;
    size_t begin = match.begin, end = from;
    if (match.token->lstrip)
      begin = std::max(at, begin - white_bytes_at_end(whole.substr(0, begin)));
    if (match.token->rstrip) end += white_bytes_at_begin(whole.substr(end));
    if (begin > at) text(whole.substr(at, begin - at));
    found(match.token->id);
    at = end;
  }
  if (at < whole.size()) text(whole.substr(at));
}

}  // namespace leasehold
