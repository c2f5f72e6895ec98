#include "runtime/data/added_tokens.h"

#include <algorithm>

#include "runtime/base/check.h"
#include "runtime/data/utf8.h"

namespace leasehold {

namespace {

// Returns the length of the white-space character at the beginning of `text`; 0 if there is none.
size_t white_character_bytes(std::string_view text) {
  if (text.empty()) return 0;
  const auto byte = static_cast<uint8_t>(text[0]);
  if (byte == ' ' || (byte >= 0x09 && byte <= 0x0D)) return 1;
  if (text.starts_with("\xC2\x85") || text.starts_with("\xC2\xA0")) return 2;
  if (text.starts_with("\xE1\x9A\x80") || text.starts_with("\xE3\x80\x80")) return 3;
  if (!text.starts_with("\xE2\x80") && !text.starts_with("\xE2\x81")) return 0;
  if (text.starts_with("\xE2\x81")) return text.substr(2).starts_with("\x9F") ? 3 : 0;
  const auto last = text.size() > 2 ? static_cast<uint8_t>(text[2]) : uint8_t{0};
  return (last >= 0x80 && last <= 0x8A) || last == 0xA8 || last == 0xA9 || last == 0xAF ? 3 : 0;
}

}  // namespace

AddedTokens::AddedTokens(std::vector<Token> tokens) : tokens_(std::move(tokens)) {
  const auto first = [](const Token& token) { return static_cast<uint8_t>(token.content.front()); };
  for (const Token& token : tokens_) {
    LEASEHOLD_CHECK(!token.content.empty(), "an empty added token");
  }
  std::ranges::sort(tokens_, [&](const Token& a, const Token& b) {
    if (first(a) != first(b)) return first(a) < first(b);
    return a.content.size() != b.content.size() ? a.content.size() > b.content.size()
                                                : a.content < b.content;
  });
  for (size_t byte = 0; byte <= 256; ++byte) {
    const auto at = std::ranges::find_if(
        tokens_, [&](const Token& token) { return static_cast<size_t>(first(token)) >= byte; });
    begin_[byte] = static_cast<uint32_t>(at - tokens_.begin());
  }
}

AddedTokens::Match AddedTokens::find(std::string_view text, size_t at) const {
  for (; at < text.size(); ++at) {
    const auto byte = static_cast<uint8_t>(text[at]);
    for (uint32_t i = begin_[byte]; i < begin_[byte + 1u]; ++i) {
      const std::string& content = tokens_[i].content;
      if (text.substr(at, content.size()) == content) return {at, content.size(), &tokens_[i]};
    }
  }
  return {};
}

size_t white_bytes_at_begin(std::string_view text) {
  size_t at = 0;
  while (const size_t bytes = white_character_bytes(text.substr(at))) at += bytes;
  return at;
}

size_t white_bytes_at_end(std::string_view text) {
  size_t at = text.size();
  while (at > 0) {
    const size_t begin = utf8_previous(text, at);
    if (begin == at || white_character_bytes(text.substr(begin, at - begin)) != at - begin) break;
    at = begin;
  }
  return text.size() - at;
}

}  // namespace leasehold
