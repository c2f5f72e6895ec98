// The regular expression of a byte-level BPE. Its matches are the pieces within which tokens merge.
// Hugging Face writes it for Oniguruma; here PCRE2 runs it (UTF, UCP, JIT). Constructs that both
// read alike are accepted. \s and \S are written out as Unicode's White_Space (PCRE2's own \s also
// has U+180E). All other constructs are refused by name, so that no pattern means something else
// than its author intended. Letters and numbers are those of PCRE2's Unicode tables.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "runtime/base/status.h"

namespace leasehold {

// GPT-2's pattern, which Hugging Face's ByteLevel pre-tokenizer applies if "use_regex" is true.
inline constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

inline constexpr std::string_view kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// Returns the pattern in the form for PCRE2 (pure; fuzzed). kBadData, starting with `where` and
// naming the construct, for constructs that are not accepted: lookbehind, anchors, \w, \b,
// backreferences, ...
Result<std::string> translate_split_pattern(std::string_view pattern, const std::string& where);

// A compiled pattern. Thread-safe; a Scratch belongs to one thread at a time.
class SplitPattern {
 public:
  // Compiles a pattern. kBadData, starting with `where`, also for a pattern that matches the empty
  // text.
  static Result<SplitPattern> compile(std::string_view pattern, const std::string& where);
  SplitPattern(SplitPattern&&) noexcept;
  SplitPattern& operator=(SplitPattern&&) noexcept;
  ~SplitPattern();

  class Scratch {
   public:
    // Makes a scratch. With `deep`, it has room for patterns that backtrack over much of a long
    // text.
    explicit Scratch(const SplitPattern& pattern, bool deep);
    Scratch(Scratch&&) noexcept;
    Scratch& operator=(Scratch&&) noexcept;
    ~Scratch();

   private:
    friend class SplitPattern;
    struct State;
    std::unique_ptr<State> state_;
  };

  struct Match {
    bool found = false;
    int error = 0;  // 0, or an error for match_error
    size_t begin = 0;
    size_t end = 0;
  };
  // Returns the first match in `text`, which must be UTF-8, at or after `at`, the beginning of a
  // character. Lookahead sees to the end of `text` and no further.
  Match find(Scratch& scratch, std::string_view text, size_t at) const;
  // Returns kBadData: the pattern backtracks without end on this text.
  static Status match_error(int error);

 private:
  struct State;
  explicit SplitPattern(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace leasehold
