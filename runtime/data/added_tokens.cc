#include "runtime/data/added_tokens.h"

#include <algorithm>
#include <cstring>

#include "runtime/base/check.h"

namespace leasehold {

AddedTokens::AddedTokens(std::vector<std::pair<std::string, int32_t>> tokens)
    : tokens_(std::move(tokens)) {
  const auto first = [](const auto& token) { return static_cast<uint8_t>(token.first.front()); };
  for (const auto& token : tokens_) LEASEHOLD_CHECK(!token.first.empty(), "an empty added token");
  std::ranges::sort(tokens_, [&](const auto& a, const auto& b) {
    if (first(a) != first(b)) return first(a) < first(b);
    return a.first.size() != b.first.size() ? a.first.size() > b.first.size() : a.first < b.first;
  });
  for (size_t byte = 0; byte <= 256; ++byte) {
    const auto at = std::ranges::find_if(
        tokens_, [&](const auto& token) { return static_cast<size_t>(first(token)) >= byte; });
    begin_[byte] = static_cast<uint32_t>(at - tokens_.begin());
  }
}

AddedTokens::Match AddedTokens::find(std::string_view text, size_t at) const {
  for (; at < text.size(); ++at) {
    const auto byte = static_cast<uint8_t>(text[at]);
    for (uint32_t i = begin_[byte]; i < begin_[byte + 1u]; ++i) {
      const auto& [content, id] = tokens_[i];
      if (text.substr(at, content.size()) == content) return {at, content.size(), id};
    }
  }
  return {};
}

}  // namespace leasehold
