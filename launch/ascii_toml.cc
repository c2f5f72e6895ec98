#include "launch/ascii_toml.h"

#include <algorithm>
#include <cstdint>
#include <fmt/format.h>

#include "runtime/data/utf8.h"

namespace leasehold {

namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

bool is_ascii(char c) { return static_cast<unsigned char>(c) < 0x80; }

// Returns the code point of a whole character.
uint32_t code_point(std::string_view character) {
  const auto first = static_cast<unsigned char>(character[0]);
  uint32_t code = first & (0x7Fu >> character.size());
  for (const char c : character.substr(1))
    code = code << 6 | (static_cast<unsigned char>(c) & 0x3Fu);
  return code;
}

// A Rewriter rewrites one text. Text that is not valid TOML may become other invalid text, since
// the library reports the error.
class Rewriter {
 public:
  Rewriter(std::string_view text, const std::string& path) : rest_(text), path_(path) {}

  Result<std::string> run() {
    while (!rest_.empty()) {
      const char c = rest_[0];
      if (c == '#') {
        comment();
      } else if (c == '"' || c == '\'') {
        LEASEHOLD_RETURN_IF_ERROR(string(c));
      } else if (is_ascii(c)) {
        copy(1);
      } else {
        return misplaced();
      }
    }
    return std::move(ascii_);
  }

 private:
  void comment() {
    while (!rest_.empty() && rest_[0] != '\n') {
      if (is_ascii(rest_[0])) {
        copy(1);
      } else {
        replace(character().size(), "?");
      }
    }
  }

  // Rewrites a string of any of TOML's four kinds as one that may hold escapes.
  Status string(char quote) {
    const bool is_multiline = num_quotes(quote) >= 3;
    const size_t num_open = is_multiline ? 3 : 1;
    const bool has_escapes = quote == '"';
    replace(num_open, std::string(num_open, '"'));
    while (!rest_.empty()) {
      const char c = rest_[0];
      if (c == quote && num_quotes(quote) >= num_open) return close(quote, num_open);
      if (c == '\n' && !is_multiline)
        return ok_status();  // unterminated, which the library reports
      if (c == '\\' && has_escapes) {
        copy(1);
        if (!rest_.empty() && !is_ascii(rest_[0])) return misplaced();
        copy(std::min<size_t>(1, rest_.size()));
      } else if (!has_escapes && (c == '\\' || c == '"')) {
        replace(1, std::string("\\") + c);
      } else if (is_ascii(c)) {
        copy(1);
      } else {
        replace(character().size(), fmt::format("\\U{:08X}", code_point(character())));
      }
    }
    return ok_status();
  }

  // Closes a string. In a string of several lines up to two quotes may stand before the closing
  // ones.
  Status close(char quote, size_t num_close) {
    constexpr size_t kMaxInside = 2;
    const size_t num_inside =
        num_close == 1 ? 0 : std::min(num_quotes(quote) - num_close, kMaxInside);
    for (size_t i = 0; i < num_inside; ++i) replace(1, quote == '"' ? "\\\"" : "'");
    replace(num_close, std::string(num_close, '"'));
    return ok_status();
  }

  size_t num_quotes(char quote) const {
    return std::min(rest_.find_first_not_of(quote), rest_.size());
  }
  std::string_view character() const { return rest_.substr(0, utf8_character_bytes(rest_)); }

  Status misplaced() const {
    return error(
        Code::kBadConfig,
        "{}:{}: not TOML: the character {} (U+{:04X}) is allowed in strings and comments only",
        path_, 1 + std::count(ascii_.begin(), ascii_.end(), '\n'), character(),
        code_point(character()));
  }

  void copy(size_t size) { replace(size, rest_.substr(0, size)); }
  void replace(size_t size, std::string_view by) {
    ascii_ += by;
    rest_.remove_prefix(size);
  }

  std::string_view rest_;
  const std::string& path_;
  std::string ascii_;
};

}  // namespace

Result<std::string> toml_in_ascii(std::string_view text, const std::string& path) {
  if (std::all_of(text.begin(), text.end(), is_ascii)) return std::string(text);
  const size_t valid = utf8_prefix_bytes(text);
  if (valid < text.size()) {
    const auto end = text.begin() + static_cast<int64_t>(valid);
    return error(Code::kBadConfig, "{}:{}: not TOML: this line is not UTF-8 text", path,
                 1 + std::count(text.begin(), end, '\n'));
  }
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  return Rewriter(text, path).run();
}

}  // namespace leasehold
