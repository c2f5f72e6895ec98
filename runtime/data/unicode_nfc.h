// Unicode's normalization form C (UAX #15), by libutf8proc: a letter and the marks after it become
// one character if there is one. The tables are those of the library's version of Unicode.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace leasehold {

// A normalizer that several threads may use at once.
class NfcNormalizer {
 public:
  NfcNormalizer();

  // Returns true if normalization never changes the character, whatever precedes or follows it, so
  // that a text may be cut before it. `character` is one character in UTF-8.
  bool is_stable(std::string_view character) const;

  // Returns `text` if it is already normal, otherwise its normal form, which is stored in `room`.
  // Bytes of no UTF-8 character do not change, and nothing combines across them.
  std::string_view normalize(std::string_view text, std::string& room) const;

 private:
  static bool is_too_new(std::string_view character);
  size_t find_unstable(std::string_view text, size_t at) const;
  // By code point, below kMaxListed; characters above count as not stable.
  std::vector<bool> stable_;
};

}  // namespace leasehold
