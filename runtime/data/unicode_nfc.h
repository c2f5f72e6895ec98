// Unicode's normalization form C (UAX #15), by libutf8proc: letters and the marks after them become
// one character where there is one. The tables are those of the library's version of Unicode.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace leasehold {

// Normalizes texts; may be used by several threads at once.
class NfcNormalizer {
 public:
  NfcNormalizer();

  // Returns true for a character that normalization leaves alone whatever stands before or after
  // it, so that a text may be cut in front of it. `character` is one character in UTF-8.
  bool is_stable(std::string_view character) const;

  // Returns `text` where it is normal already, else its normal form, which is kept in `room`. Bytes
  // of no UTF-8 character stay as they are, and nothing joins over them.
  std::string_view normalize(std::string_view text, std::string& room) const;

 private:
  static bool is_too_new(std::string_view character);
  size_t find_unstable(std::string_view text, size_t at) const;
  std::vector<bool> stable_;  // by code point, below kMaxListed; above it all count as not stable
};

}  // namespace leasehold
