// Recognises UTF-8 (Unicode 15, table 3-7: no surrogates, nothing overlong, at most U+10FFFF).
#pragma once

#include <cstdint>
#include <string_view>

namespace leasehold {

// Returns the length in bytes (1 to 4) of the character at the start of `text`; 0 if there is none.
inline size_t utf8_character_bytes(std::string_view text) {
  const auto byte = [&](size_t i) {
    return i < text.size() ? static_cast<uint8_t>(text[i]) : uint8_t{0};
  };
  const auto follows = [&](size_t i, uint8_t low = 0x80, uint8_t high = 0xBF) {
    return byte(i) >= low && byte(i) <= high;
  };
  const uint8_t first = byte(0);
  if (first < 0x80) return text.empty() ? 0 : 1;
  if (first < 0xC2) return 0;
  if (first < 0xE0) return follows(1) ? 2 : 0;
  if (first < 0xF0) {
    const bool second = follows(1, first == 0xE0 ? 0xA0 : 0x80, first == 0xED ? 0x9F : 0xBF);
    return second && follows(2) ? 3 : 0;
  }
  if (first > 0xF4) return 0;
  const bool second = follows(1, first == 0xF0 ? 0x90 : 0x80, first == 0xF4 ? 0x8F : 0xBF);
  return second && follows(2) && follows(3) ? 4 : 0;
}

// Returns the number of leading bytes of `text` that are whole characters.
inline size_t utf8_prefix_bytes(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    if (static_cast<uint8_t>(text[at]) < 0x80) {
      ++at;
      continue;
    }
    const size_t length = utf8_character_bytes(text.substr(at));
    if (length == 0) break;
    at += length;
  }
  return at;
}

// Returns the beginning of the character that ends right before `at`; `at` itself if there is none.
inline size_t utf8_previous(std::string_view text, size_t at) {
  for (size_t length = 1; length <= 4 && length <= at; ++length) {
    if (utf8_character_bytes(text.substr(at - length, length)) == length) return at - length;
  }
  return at;
}

}  // namespace leasehold
