#include "runtime/data/text_check.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "runtime/data/utf8.h"

namespace leasehold {

namespace {

struct Encoding {
  std::string_view name;
  std::string_view iconv;
  std::string_view mark;
  // The places, of every four bytes, where Latin letters have zeros.
  std::array<bool, 4> zeros;
  // The least share of zeros at these places. In UTF-16 only Latin letters and spaces have zeros.
  double least;
};

// UTF-32 comes before UTF-16, since its mark begins with UTF-16's.
constexpr std::array kEncodings = {
    Encoding{
        "UTF-32, little-endian", "UTF-32LE", {"\xFF\xFE\0\0", 4}, {false, true, true, true}, 0.9},
    Encoding{"UTF-32, big-endian", "UTF-32BE", {"\0\0\xFE\xFF", 4}, {true, true, true, false}, 0.9},
    Encoding{"UTF-16, little-endian", "UTF-16LE", {"\xFF\xFE", 2}, {false, true, false, true}, 0.1},
    Encoding{"UTF-16, big-endian", "UTF-16BE", {"\xFE\xFF", 2}, {true, false, true, false}, 0.1},
};

constexpr size_t kLeastBytes = 8;

// Returns true if all units are characters of texts. Numbers rarely are.
bool is_text_in_units(std::string_view head, const Encoding& encoding) {
  const bool wide = encoding.iconv.starts_with("UTF-32");
  const bool little = encoding.iconv.ends_with("LE");
  const size_t size = wide ? 4 : 2;
  bool high = false;  // the unit before is half of a surrogate pair
  for (size_t at = 0; at + size <= head.size(); at += size) {
    uint32_t unit = 0;
    for (size_t i = 0; i < size; ++i)
      unit = unit << 8 | static_cast<uint8_t>(head[at + (little ? size - 1 - i : i)]);
    const bool space = unit == '\t' || unit == '\n' || unit == '\r';
    if ((unit < 0x20 && !space) || unit > 0x10FFFF || unit == 0xFFFE || unit == 0xFFFF)
      return false;
    const bool low = unit >= 0xDC00 && unit <= 0xDFFF;
    if (low != high) return false;
    high = unit >= 0xD800 && unit <= 0xDBFF;
  }
  return true;
}

bool has_zeros_of(std::string_view head, const Encoding& encoding) {
  std::array<double, 2> zeros{}, bytes{};
  for (size_t i = 0; i < head.size() / 4 * 4; ++i) {
    const size_t expected = encoding.zeros[i % 4] ? 1 : 0;
    ++bytes[expected];
    if (head[i] == '\0') ++zeros[expected];
  }
  const double there = zeros[1] / std::max(bytes[1], 1.0);
  return head.size() >= kLeastBytes && there >= encoding.least &&
         zeros[0] / std::max(bytes[0], 1.0) <= 0.1 * there && is_text_in_units(head, encoding);
}

// Returns the first byte from `begin` on that is not ASCII or is NUL, testing eight at a time;
// `text.size()` if there is none.
size_t skip_ascii(std::string_view text, size_t begin) {
  constexpr uint64_t kHigh = 0x8080808080808080, kOnes = 0x0101010101010101;
  size_t at = begin;
  for (; at + sizeof(uint64_t) <= text.size(); at += sizeof(uint64_t)) {
    uint64_t word;
    std::memcpy(&word, text.data() + at, sizeof word);
    if (((word | (word - kOnes)) & kHigh) != 0) break;
  }
  while (at < text.size() && text[at] > '\0') ++at;
  return at;
}

// Returns a character's length given its first byte; 0 if no character starts with it.
size_t expected_bytes(char first) {
  const auto byte = static_cast<uint8_t>(first);
  return byte < 0x80   ? 1
         : byte < 0xC2 ? 0
         : byte < 0xE0 ? 2
         : byte < 0xF0 ? 3
         : byte < 0xF5 ? 4
                       : 0;
}

// Returns true if `piece`, the rest of the text so far, could become a character with more bytes.
bool may_go_on(std::string_view piece) {
  const size_t length = expected_bytes(piece.front());
  if (piece.size() >= length) return false;
  for (const char low : {'\x80', '\x90', '\xA0'}) {
    std::string whole(piece);
    whole.append(1, piece.size() == 1 ? low : '\x80');
    whole.append(length - whole.size(), '\x80');
    if (utf8_character_bytes(whole) == length) return true;
  }
  return false;
}

}  // namespace

std::string_view find_encoding(std::string_view head) {
  for (const Encoding& encoding : kEncodings) {
    if (head.starts_with(encoding.mark)) return encoding.name;
  }
  for (const Encoding& encoding : kEncodings) {
    if (has_zeros_of(head, encoding)) return encoding.name;
  }
  if (head.find("\x1B$B") != head.npos || head.find("\x1B$@") != head.npos) return "ISO-2022-JP";
  return "";
}

std::string_view iconv_name(std::string_view encoding) {
  const auto* found = std::ranges::find(kEncodings, encoding, &Encoding::name);
  return found == kEncodings.end() ? encoding : found->iconv;
}

Status TextCheck::refuse(std::string_view what, int64_t offset, int64_t line) const {
  return error(
      Code::kBadData,
      "input {}: {} at offset {} (line {}): not text in UTF-8. Text in another encoding becomes it "
      "with `iconv -f WINDOWS-1252 -t UTF-8 FILE`, or what `file -i FILE` names; --format bytes "
      "takes bytes as they are",
      path_, what, offset, line);
}

Status TextCheck::add(std::string_view piece) {
  std::string joined;
  if (!begun_.empty()) {
    joined = begun_ + std::string(piece);
    offset_ -= static_cast<int64_t>(begun_.size());
    begun_.clear();
    piece = joined;
  }
  for (size_t at = skip_ascii(piece, 0); at < piece.size(); at = skip_ascii(piece, at)) {
    const std::string_view left = piece.substr(at);
    const size_t length = left.front() == '\0' ? 0 : utf8_character_bytes(left);
    if (length > 0) {
      at += length;
      continue;
    }
    if (left.front() != '\0' && may_go_on(left)) {
      begun_ = left;
      piece.remove_suffix(left.size());
      break;
    }
    const int64_t line =
        line_ + std::count(piece.begin(), piece.begin() + static_cast<std::ptrdiff_t>(at), '\n');
    const std::string what =
        left.front() == '\0' ? "a NUL"
                             : fmt::format("the byte 0x{:02X}", static_cast<uint8_t>(left.front()));
    return refuse(what, offset_ + static_cast<int64_t>(at), line);
  }
  line_ += std::ranges::count(piece, '\n');
  offset_ += static_cast<int64_t>(piece.size() + begun_.size());
  return ok_status();
}

Status TextCheck::finish() {
  if (begun_.empty()) return ok_status();
  return error(
      Code::kBadData,
      "input {}: it ends inside a character, at offset {} (line {}): cut off, or text in "
      "another encoding (`iconv -f WINDOWS-1252 -t UTF-8 FILE`); --format bytes takes bytes "
      "as they are",
      path_, offset_ - static_cast<int64_t>(begun_.size()), line_);
}

}  // namespace leasehold
