// The regular expression of a byte-level BPE: its matches are the pieces within which tokens merge.
// Hugging Face writes it for Oniguruma; here PCRE2 runs it (UTF, UCP, JIT). What both read alike is
// taken, \s and \S are written out as Unicode's White_Space (PCRE2's own holds U+180E besides), and
// the rest is refused by name, so that no pattern is understood in another way than its author's.
// Letters and numbers are those of PCRE2's Unicode tables.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "runtime/base/status.h"

namespace leasehold {

// GPT-2's, which Hugging Face's ByteLevel pre-tokenizer applies where "use_regex" is true.
inline constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

inline constexpr std::string_view kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// The pattern as PCRE2 is to read it (pure; fuzzed). kBadData, starting with `where` and naming the
// construct, for what is not taken: lookbehind, anchors, \w, \b, backreferences, ...
Result<std::string> translate_split_pattern(std::string_view pattern, const std::string& where);

// Thread-safe; a Scratch belongs to one thread at a time.
class SplitPattern {
 public:
  // kBadData, starting with `where`, also for a pattern that matches the empty text.
  static Result<SplitPattern> compile(std::string_view pattern, const std::string& where);
  SplitPattern(SplitPattern&&) noexcept;
  SplitPattern& operator=(SplitPattern&&) noexcept;
  ~SplitPattern();

  class Scratch {
   public:
    // With `deep`, room for patterns that backtrack over much of a long text.
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
    int error = 0;  // else 0; see match_error
    size_t begin = 0;
    size_t end = 0;
  };
  // The first match in `text`, which must be UTF-8, at or after `at`, a character's begin.
  // Lookahead sees to the end of `text` and no further.
  Match find(Scratch& scratch, std::string_view text, size_t at) const;
  // kBadData: the pattern backtracks without end on this text.
  static Status match_error(int error);

 private:
  struct State;
  explicit SplitPattern(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace leasehold
