// Tokens that are looked for in the text before anything else ("<|endoftext|>"): leftmost first, of
// those the longest.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace leasehold {

class AddedTokens {
 public:
  // No content may be empty.
  explicit AddedTokens(std::vector<std::pair<std::string, int32_t>> tokens);

  bool empty() const { return tokens_.empty(); }

  struct Match {
    size_t begin = std::string_view::npos;  // npos: none
    size_t bytes = 0;
    int32_t id = -1;
  };
  // The first one at or after `at`.
  Match find(std::string_view text, size_t at) const;

 private:
  std::vector<std::pair<std::string, int32_t>> tokens_;  // by first byte, longest first
  std::array<uint32_t, 257> begin_{};                    // of the tokens that start with a byte
};

// Calls text(part) for what lies between the tokens and token(id) for each, in order.
template <typename Text, typename Token>
void split_at_added(const AddedTokens& added, std::string_view whole, const Text& text,
                    const Token& token) {
  size_t at = 0;
  while (!added.empty() && at < whole.size()) {
    const AddedTokens::Match match = added.find(whole, at);
    if (match.begin == std::string_view::npos) break;
    if (match.begin > at) text(whole.substr(at, match.begin - at));
    token(match.id);
    at = match.begin + match.bytes;
  }
  if (at < whole.size()) text(whole.substr(at));
}

}  // namespace leasehold
