// Checks bytes as they stream by: text is UTF-8 without NUL.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/base/status.h"

namespace leasehold {

// Names another encoding by a file's first bytes ("UTF-16, little-endian"): a byte-order mark, or
// the zeros that Latin letters have in it. Empty for everything else.
std::string_view find_encoding(std::string_view head);
// The name that iconv(1) knows it by.
std::string_view iconv_name(std::string_view encoding);

inline constexpr std::string_view kUtf8Mark = "\xEF\xBB\xBF";

// Checks a text in pieces, in their order.
class TextCheck {
 public:
  explicit TextCheck(std::string path) : path_(std::move(path)) {}

  // kBadData for the first NUL and the first byte that no UTF-8 has there, naming the file, the
  // byte, its offset and line, and the way out. A character may be cut by the piece's end.
  Status add(std::string_view piece);
  // kBadData when the text ends inside a character.
  Status finish();

 private:
  Status refuse(std::string_view what, int64_t offset, int64_t line) const;

  std::string path_;
  int64_t offset_ = 0;  // of the next piece
  int64_t line_ = 1;    // of the next piece's first byte
  std::string begun_;   // the character that the piece before has cut
};

}  // namespace leasehold
