// Added tokens ("<|endoftext|>") are searched for in a text before anything else: the leftmost
// first, and of those at one place the longest. As in Hugging Face's library, some include the
// white space around them.
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
    bool lstrip = false;  // includes the white space before it
    bool rstrip = false;  // includes the white space after it
  };
  explicit AddedTokens(std::vector<Token> tokens);

  bool empty() const { return tokens_.empty(); }

  struct Match {
    size_t begin = std::string_view::npos;  // npos: none
    size_t bytes = 0;
    const Token* token = nullptr;
  };
  // Finds the first token at or after `at`. White space around it is not part of the match.
  Match find(std::string_view text, size_t at) const;

 private:
  std::vector<Token> tokens_;          // by first byte, longest first
  std::array<uint32_t, 257> begin_{};  // index of the first token that starts with a byte
};

// Count the bytes of Unicode's White_Space at the end and at the beginning of `text`.
size_t white_bytes_at_end(std::string_view text);
size_t white_bytes_at_begin(std::string_view text);

// Calls text(part) for the text between the tokens and found(id) for each token, in order.
template <typename Text, typename Found>
void split_at_added(const AddedTokens& added, std::string_view whole, const Text& text,
                    const Found& found) {
  size_t at = 0;  // everything before is done
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
