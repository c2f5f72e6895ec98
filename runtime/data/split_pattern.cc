#define PCRE2_CODE_UNIT_WIDTH 8  // NOLINT(readability-identifier-naming): PCRE2's own name
#include "runtime/data/split_pattern.h"

#include <array>
#include <pcre2.h>

#include "runtime/base/check.h"

namespace leasehold {

namespace {

constexpr size_t kMaxPatternBytes = 16384;
constexpr size_t kJitStackBytes = size_t{1} << 20;

constexpr std::string_view kWhiteSpace = R"(\p{Z}\x{9}-\x{d}\x{85})";
constexpr std::array kCategories = {"L",  "Lu", "Ll", "Lt", "Lm", "Lo", "M",  "Mn", "Mc",
                                    "Me", "N",  "Nd", "Nl", "No", "P",  "Pc", "Pd", "Ps",
                                    "Pe", "Pi", "Pf", "Po", "S",  "Sm", "Sc", "Sk", "So",
                                    "Z",  "Zs", "Zl", "Zp", "C",  "Cc", "Cf", "Co", "Cn"};

// Walks a pattern once, left to right.
class Translator {
 public:
  Translator(std::string_view pattern, const std::string& where)
      : pattern_(pattern), where_(where) {}

  Result<std::string> run() {
    if (pattern_.size() > kMaxPatternBytes) {
      return error(Code::kBadData, "{}: a pattern of {} bytes; at most {} are taken", where_,
                   pattern_.size(), kMaxPatternBytes);
    }
    while (at_ < pattern_.size()) {
      LEASEHOLD_RETURN_IF_ERROR(in_class_ ? class_item() : item());
    }
    if (in_class_) return refuse("a '[' without its ']'");
    return std::move(out_);
  }

 private:
  Status refuse(const std::string& what) const {
    return error(Code::kBadData,
                 "{}: the pattern {} holds {}, which this version does not run; use a tokenizer "
                 "whose pattern is without it",
                 where_, pattern_, what);
  }
  bool next_is(std::string_view text) const { return pattern_.substr(at_).starts_with(text); }
  Status take(size_t count) {
    out_ += pattern_.substr(at_, count);
    at_ += count;
    return ok_status();
  }

  Status item() {
    switch (pattern_[at_]) {
      case '\\':
        return escape();
      case '[':
        in_class_ = true;
        LEASEHOLD_RETURN_IF_ERROR(take(next_is("[^") ? 2 : 1));
        if (next_is("]")) return refuse("a ']' at the begin of a class");
        return ok_status();
      case '(':
        return group();
      case '^':
      case '$':
        return refuse(fmt::format("the anchor {}", pattern_[at_]));
      case '.':
        return refuse("a '.'");
      case '}':
        // Possessive in PCRE2, but a repeated repetition in Oniguruma.
        if (next_is("}+")) return refuse("a '+' behind '}'");
        return take(1);
      default:
        return take(1);
    }
  }

  Status group() {
    if (!next_is("(?") && !next_is("(*")) return take(1);
    for (const std::string_view known : {"(?:", "(?=", "(?!", "(?>", "(?i:"}) {
      if (next_is(known)) return take(known.size());
    }
    return refuse(fmt::format("the group {}", pattern_.substr(at_, 4)));
  }

  Status class_item() {
    switch (pattern_[at_]) {
      case '\\':
        return escape();
      case '[':
        return refuse("a '[' inside a class");
      case '&':
        if (next_is("&&")) return refuse("a '&&' inside a class");
        return take(1);
      case ']':
        in_class_ = false;
        return take(1);
      default:
        return take(1);
    }
  }

  Status escape() {
    if (at_ + 1 >= pattern_.size()) return refuse("a '\\' at its end");
    const char kind = pattern_[at_ + 1];
    if (kind == 's') {
      // The '-' would make a range of the last character that \s is written out to.
      if (in_class_ && pattern_.substr(at_ + 2).starts_with('-')) return refuse("a '-' behind \\s");
      out_ += in_class_ ? std::string(kWhiteSpace) : fmt::format("[{}]", kWhiteSpace);
      at_ += 2;
      return ok_status();
    }
    if (kind == 'S' && !in_class_) {
      out_ += fmt::format("[^{}]", kWhiteSpace);
      at_ += 2;
      return ok_status();
    }
    if (kind == 'p' || kind == 'P') return category();
    const bool letter = (kind >= 'a' && kind <= 'z') || (kind >= 'A' && kind <= 'Z') ||
                        (kind >= '0' && kind <= '9') || static_cast<uint8_t>(kind) >= 0x80;
    if (letter && kind != 'r' && kind != 'n' && kind != 't' && kind != 'd') {
      return refuse(fmt::format("the escape \\{}{}", kind, in_class_ ? " inside a class" : ""));
    }
    return take(2);
  }

  Status category() {
    const size_t close = pattern_.find('}', at_);
    const std::string_view whole =
        pattern_.substr(at_, close == std::string_view::npos ? close : close + 1 - at_);
    for (const std::string_view name : kCategories) {
      if (whole.size() == name.size() + 4 && whole[2] == '{' &&
          whole.substr(3, name.size()) == name)
        return take(whole.size());
    }
    return refuse(fmt::format("the property {}", whole));
  }

  std::string_view pattern_;
  const std::string& where_;
  size_t at_ = 0;
  bool in_class_ = false;
  std::string out_;
};

std::string pcre2_words(int code) {
  std::array<PCRE2_UCHAR8, 256> text{};
  pcre2_get_error_message_8(code, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

}  // namespace

Result<std::string> translate_split_pattern(std::string_view pattern, const std::string& where) {
  return Translator(pattern, where).run();
}

struct SplitPattern::State {
  pcre2_code_8* code = nullptr;
  bool jit = false;
  ~State() { pcre2_code_free_8(code); }
};

struct SplitPattern::Scratch::State {
  pcre2_match_data_8* data = nullptr;
  pcre2_match_context_8* context = nullptr;
  pcre2_jit_stack_8* stack = nullptr;
  ~State() {
    pcre2_match_data_free_8(data);
    pcre2_match_context_free_8(context);
    pcre2_jit_stack_free_8(stack);
  }
};

SplitPattern::SplitPattern(std::unique_ptr<State> state) : state_(std::move(state)) {}
SplitPattern::SplitPattern(SplitPattern&&) noexcept = default;
SplitPattern& SplitPattern::operator=(SplitPattern&&) noexcept = default;
SplitPattern::~SplitPattern() = default;

SplitPattern::Scratch::Scratch(const SplitPattern& pattern, bool deep)
    : state_(std::make_unique<State>()) {
  state_->data = pcre2_match_data_create_from_pattern_8(pattern.state_->code, nullptr);
  state_->context = pcre2_match_context_create_8(nullptr);
  LEASEHOLD_CHECK(state_->data != nullptr && state_->context != nullptr, "out of memory");
  if (!deep) return;
  state_->stack = pcre2_jit_stack_create_8(32768, kJitStackBytes, nullptr);
  if (state_->stack != nullptr) {  // otherwise PCRE2 uses 32 KiB of the thread's stack
    pcre2_jit_stack_assign_8(state_->context, nullptr, state_->stack);
  }
}
SplitPattern::Scratch::Scratch(Scratch&&) noexcept = default;
SplitPattern::Scratch& SplitPattern::Scratch::operator=(Scratch&&) noexcept = default;
SplitPattern::Scratch::~Scratch() = default;

Result<SplitPattern> SplitPattern::compile(std::string_view pattern, const std::string& where) {
  LEASEHOLD_ASSIGN_OR_RETURN(const std::string translated, translate_split_pattern(pattern, where));
  int code = 0;
  PCRE2_SIZE offset = 0;
  auto state = std::make_unique<State>();
  state->code =
      pcre2_compile_8(reinterpret_cast<PCRE2_SPTR8>(translated.data()), translated.size(),
                      PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &code, &offset, nullptr);
  if (state->code == nullptr) {
    return error(Code::kBadData,
                 "{}: the pattern {} is not a regular expression: {} (as {}, at {})", where,
                 pattern, pcre2_words(code), translated, offset);
  }
  uint32_t matches_empty = 0;
  pcre2_pattern_info_8(state->code, PCRE2_INFO_MATCHEMPTY, &matches_empty);
  if (matches_empty != 0) {
    return error(Code::kBadData,
                 "{}: the pattern {} matches the empty text; write one whose matches hold at least "
                 "a character",
                 where, pattern);
  }
  // If PCRE2 was built without JIT, its interpreter gives the same matches more slowly.
  state->jit = pcre2_jit_compile_8(state->code, PCRE2_JIT_COMPLETE) == 0;
  return SplitPattern(std::move(state));
}

SplitPattern::Match SplitPattern::find(Scratch& scratch, std::string_view text, size_t at) const {
  const auto* subject = reinterpret_cast<PCRE2_SPTR8>(text.data());
  const Scratch::State& own = *scratch.state_;
  const int result = state_->jit ? pcre2_jit_match_8(state_->code, subject, text.size(), at,
                                                     PCRE2_NO_UTF_CHECK, own.data, own.context)
                                 : pcre2_match_8(state_->code, subject, text.size(), at,
                                                 PCRE2_NO_UTF_CHECK, own.data, own.context);
  if (result == PCRE2_ERROR_NOMATCH) return {};
  if (result < 0) return {.error = result};
  const PCRE2_SIZE* found = pcre2_get_ovector_pointer_8(own.data);
  return {.found = true, .begin = found[0], .end = found[1]};
}

Status SplitPattern::match_error(int code) {
  return error(Code::kBadData,
               "the tokenizer's pattern gives up on this text ({}); break the text into lines",
               pcre2_words(code));
}

}  // namespace leasehold
