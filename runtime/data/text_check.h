// Checks bytes while they stream past: text is UTF-8 without NUL.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/base/status.h"

namespace leasehold {

// Names another encoding from a file's first bytes ("UTF-16, little-endian"): by its byte-order
// mark, or by the zeros that Latin letters have in it. Empty for everything else.
std::string_view find_encoding(std::string_view head);
// Returns the name that iconv(1) uses for it.
std::string_view iconv_name(std::string_view encoding);

inline constexpr std::string_view kUtf8Mark = "\xEF\xBB\xBF";

// A TextCheck checks a text in pieces, in order.
class TextCheck {
 public:
  explicit TextCheck(std::string path) : path_(std::move(path)) {}

  // Checks a piece. kBadData for the first NUL and the first byte that UTF-8 cannot have in its
  // place, naming the file, the byte, its offset and line, and the way out. The end of a piece may
  // cut a character.
  Status add(std::string_view piece);
  // Fails with kBadData if the text ends inside a character.
  Status finish();

 private:
  Status refuse(std::string_view what, int64_t offset, int64_t line) const;

  std::string path_;
  int64_t offset_ = 0;  // of the next piece
  int64_t line_ = 1;    // of the next piece's first byte
  std::string begun_;   // the character that the end of the previous piece cut
};

}  // namespace leasehold
