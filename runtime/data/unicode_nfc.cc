#include "runtime/data/unicode_nfc.h"

#include <algorithm>
#include <array>
#include <utf8proc.h>

#include "runtime/base/check.h"
#include "runtime/data/utf8.h"

namespace leasehold {

namespace {

// Characters from here on are rare, and none of them combines.
constexpr int32_t kMaxListed = 0x30000;
constexpr int kMaxDecomposed = 32;  // Unicode's longest canonical decomposition has 4
constexpr auto kDecompose = static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | UTF8PROC_STABLE);
constexpr auto kCompose = static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE);

// Characters that tokenizers 0.23.3 does not change but utf8proc does, and blocks of later versions
// of Unicode.
struct CodeRange {
  int32_t first, last;
};
constexpr std::array kTooNew = {
    CodeRange{0x07FD, 0x07FD},   CodeRange{0x0897, 0x089F},   CodeRange{0x08CA, 0x08D3},
    CodeRange{0x09FE, 0x09FE},   CodeRange{0x0C3C, 0x0C3C},   CodeRange{0x0D3B, 0x0D3C},
    CodeRange{0x0EBA, 0x0EBA},   CodeRange{0x1715, 0x1715},   CodeRange{0x1ABF, 0x1AFF},
    CodeRange{0x1DF6, 0x1DFA},   CodeRange{0xA82C, 0xA82C},   CodeRange{0x105C0, 0x105FF},
    CodeRange{0x10D24, 0x10D27}, CodeRange{0x10D69, 0x10D6D}, CodeRange{0x10EAB, 0x10EAC},
    CodeRange{0x10EFA, 0x10EFF}, CodeRange{0x10F46, 0x10F50}, CodeRange{0x10F82, 0x10F85},
    CodeRange{0x11070, 0x11070}, CodeRange{0x1133B, 0x1133B}, CodeRange{0x11380, 0x113FF},
    CodeRange{0x1145E, 0x1145E}, CodeRange{0x11839, 0x1183A}, CodeRange{0x11930, 0x11930},
    CodeRange{0x1193D, 0x1193E}, CodeRange{0x11943, 0x11943}, CodeRange{0x119E0, 0x119E0},
    CodeRange{0x11A34, 0x11A34}, CodeRange{0x11A47, 0x11A47}, CodeRange{0x11A99, 0x11A99},
    CodeRange{0x11D42, 0x11D42}, CodeRange{0x11D44, 0x11D45}, CodeRange{0x11D97, 0x11D97},
    CodeRange{0x11F41, 0x11F42}, CodeRange{0x16100, 0x1613F}, CodeRange{0x16D40, 0x16D7F},
    CodeRange{0x16FF0, 0x16FF1}, CodeRange{0x1E08F, 0x1E08F}, CodeRange{0x1E130, 0x1E136},
    CodeRange{0x1E2AE, 0x1E2AE}, CodeRange{0x1E2EC, 0x1E2EF}, CodeRange{0x1E4EC, 0x1E4EF},
    CodeRange{0x1E5EE, 0x1E5EF}, CodeRange{0x1E6E0, 0x1E6FF}};

int32_t code_point(std::string_view character) {
  utf8proc_int32_t code = -1;
  utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(character.data()),
                   static_cast<utf8proc_ssize_t>(character.size()), &code);
  return code;
}

// Appends the normal form of whole characters.
void append_normal(std::string_view text, std::string& out) {
  std::vector<utf8proc_int32_t> codes(text.size() + 1);
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  const auto size = static_cast<utf8proc_ssize_t>(text.size());
  auto count = utf8proc_decompose(bytes, size, codes.data(),
                                  static_cast<utf8proc_ssize_t>(codes.size()), kDecompose);
  if (count > static_cast<utf8proc_ssize_t>(codes.size())) {
    codes.resize(static_cast<size_t>(count) + 1);
    count = utf8proc_decompose(bytes, size, codes.data(), count + 1, kDecompose);
  }
  LEASEHOLD_CHECK(count >= 0, "utf8proc: {}", utf8proc_errmsg(count));
  count = utf8proc_normalize_utf32(codes.data(), count, kCompose);
  LEASEHOLD_CHECK(count >= 0, "utf8proc: {}", utf8proc_errmsg(count));
  std::array<utf8proc_uint8_t, 4> encoded{};
  for (utf8proc_ssize_t i = 0; i < count; ++i) {
    const auto length = utf8proc_encode_char(codes[static_cast<size_t>(i)], encoded.data());
    out.append(reinterpret_cast<const char*>(encoded.data()), static_cast<size_t>(length));
  }
}

}  // namespace

NfcNormalizer::NfcNormalizer() : stable_(static_cast<size_t>(kMaxListed)) {
  std::array<utf8proc_int32_t, kMaxDecomposed> parts{};
  std::vector<bool> follows(stable_.size());  // may combine with a character before
  for (int32_t code = 0; code < kMaxListed; ++code) {
    if (!utf8proc_codepoint_valid(code)) continue;
    int boundary = 0;
    auto count = utf8proc_decompose_char(code, parts.data(), kMaxDecomposed, kDecompose, &boundary);
    LEASEHOLD_CHECK(count > 0 && count <= kMaxDecomposed, "U+{:04X}: {}", code, count);
    for (utf8proc_ssize_t i = 1; i < count; ++i) {
      const int32_t part = parts[static_cast<size_t>(i)];
      if (part < kMaxListed) follows[static_cast<size_t>(part)] = true;
    }
    count = utf8proc_normalize_utf32(parts.data(), count, kCompose);
    stable_[static_cast<size_t>(code)] =
        count == 1 && parts[0] == code && utf8proc_get_property(code)->combining_class == 0;
  }
  for (size_t code = 0; code < follows.size(); ++code) {
    if (follows[code]) stable_[code] = false;
  }
  for (const CodeRange& range : kTooNew) {
    for (int32_t code = range.first; code <= range.last; ++code)
      stable_[static_cast<size_t>(code)] = true;
  }
}

bool NfcNormalizer::is_too_new(std::string_view character) {
  const int32_t code = code_point(character);
  return std::ranges::any_of(
      kTooNew, [&](const CodeRange& range) { return code >= range.first && code <= range.last; });
}

bool NfcNormalizer::is_stable(std::string_view character) const {
  const int32_t code = code_point(character);
  return code >= 0 && code < kMaxListed && stable_[static_cast<size_t>(code)];
}

// Returns the beginning of the first character at or after `at` that is not stable; the end of the
// text if all are stable. Bytes of no character count as stable.
size_t NfcNormalizer::find_unstable(std::string_view text, size_t at) const {
  while (at < text.size()) {
    if (static_cast<uint8_t>(text[at]) < 0x80) {
      ++at;
      continue;
    }
    const size_t length = utf8_character_bytes(text.substr(at));
    if (length > 0 && !is_stable(text.substr(at, length))) return at;
    at += length > 0 ? length : 1;
  }
  return at;
}

std::string_view NfcNormalizer::normalize(std::string_view text, std::string& room) const {
  size_t unstable = find_unstable(text, 0);
  if (unstable == text.size()) return text;
  room.clear();
  room.reserve(text.size() + text.size() / 8);
  size_t copied = 0;
  while (unstable < text.size()) {
    // From the stable character before, which may combine with marks, to the next stable one.
    size_t begin = std::max(copied, utf8_previous(text, unstable));
    if (is_too_new(text.substr(begin, unstable - begin))) begin = unstable;
    size_t end = unstable;
    for (size_t length; (length = utf8_character_bytes(text.substr(end))) > 0; end += length) {
      if (is_stable(text.substr(end, length))) break;
    }
    room += text.substr(copied, begin - copied);
    append_normal(text.substr(begin, end - begin), room);
    copied = end;
    unstable = find_unstable(text, end);
  }
  room += text.substr(copied);
  return room;
}

}  // namespace leasehold
