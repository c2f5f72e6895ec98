#include "runtime/data/text_splitter.h"

#include <algorithm>
#include <array>

namespace leasehold {

namespace {

// The names, in the order of SplitBehavior.
constexpr std::array<std::string_view, 5> kBehaviors = {"Isolated", "Removed", "MergedWithPrevious",
                                                        "MergedWithNext", "Contiguous"};

// Characters of every kind that patterns distinguish.
constexpr std::array<std::string_view, 11> kKinds = {
    "a",           "S", "7", "'", "!", "/", " ", "\n", "\r", "\xCC\x81" /* combining acute */,
    "\xE4\xBB\x96" /* CJK */};

// The patterns for which try_cuts has run: Llama 3's, Qwen 2's and GPT-4o's as well as GPT-2's.
constexpr std::array<std::string_view, 4> kTriedPatterns = {
    kGpt2Pattern,
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
    kQwen2Pattern,
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)"};

bool is_ascii_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_ascii_digit(char c) { return c >= '0' && c <= '9'; }

// Returns every string of at most `length` characters of kKinds.
std::vector<std::string> strings_of(int length) {
  std::vector<std::string> all = {""};
  for (size_t begin = 0; length > 0; --length) {
    const size_t end = all.size();
    for (; begin < end; ++begin) {
      for (const std::string_view kind : kKinds) all.push_back(all[begin] + std::string(kind));
    }
  }
  return all;
}

}  // namespace

std::string_view split_behavior_name(SplitBehavior behavior) {
  return kBehaviors[static_cast<size_t>(behavior)];
}

std::optional<SplitBehavior> parse_split_behavior(std::string_view name) {
  const auto found = std::ranges::find(kBehaviors, name);
  if (found == kBehaviors.end()) return std::nullopt;
  return static_cast<SplitBehavior>(found - kBehaviors.begin());
}

TextSplitter::TextSplitter(std::vector<Stage> stages, SplitPattern letter, SplitPattern word,
                           SplitPattern visible)
    : stages_(std::move(stages)),
      letter_(std::move(letter)),
      word_(std::move(word)),
      visible_(std::move(visible)) {}

Result<TextSplitter> TextSplitter::create(const std::vector<SplitStage>& wanted,
                                          const std::string& where) {
  std::vector<Stage> stages;
  for (const SplitStage& stage : wanted) {
    LEASEHOLD_ASSIGN_OR_RETURN(SplitPattern pattern, SplitPattern::compile(stage.pattern, where));
    stages.push_back({std::move(pattern), stage.behavior, stage.invert});
  }
  LEASEHOLD_ASSIGN_OR_RETURN(SplitPattern letter, SplitPattern::compile("\\p{L}", where));
  LEASEHOLD_ASSIGN_OR_RETURN(SplitPattern word, SplitPattern::compile("[\\p{L}\\p{N}]", where));
  LEASEHOLD_ASSIGN_OR_RETURN(SplitPattern visible, SplitPattern::compile("\\S", where));
  TextSplitter made(std::move(stages), std::move(letter), std::move(word), std::move(visible));
  const bool tried = wanted.size() == 1 && wanted[0].behavior == SplitBehavior::kIsolated &&
                     std::ranges::count(kTriedPatterns, wanted[0].pattern) > 0;
  if (tried) {
    made.cut_before_space_ = made.cut_behind_newline_ = true;
  } else {
    LEASEHOLD_RETURN_IF_ERROR(made.try_cuts(where));
  }
  return made;
}

std::span<const std::string_view> TextSplitter::tried_patterns() { return kTriedPatterns; }

TextSplitter::Scratch TextSplitter::make_scratch() const {
  Scratch scratch;
  for (const Stage& stage : stages_) scratch.stages_.emplace_back(stage.pattern, /*deep=*/true);
  return scratch;
}

// Tests whether `left` and `right` apart give the same pieces as both together.
Status TextSplitter::try_cut(std::string_view left, std::string_view right, Scratch& scratch,
                             bool& holds) const {
  const std::string whole = std::string(left) + std::string(right);
  using Pieces = std::vector<std::pair<size_t, size_t>>;  // their beginnings and lengths
  const auto add_pieces = [&](std::string_view text, size_t begin, Pieces& pieces) {
    return split(text, scratch, [&](std::string_view part) {
      pieces.emplace_back(begin + static_cast<size_t>(part.data() - text.data()), part.size());
    });
  };
  Pieces apart, together;
  LEASEHOLD_RETURN_IF_ERROR(add_pieces(left, 0, apart));
  LEASEHOLD_RETURN_IF_ERROR(add_pieces(right, left.size(), apart));
  LEASEHOLD_RETURN_IF_ERROR(add_pieces(whole, 0, together));
  holds = holds && apart == together;
  return ok_status();
}

// Tries the cuts, since the pattern comes from somebody else: with every short string of different
// characters on one side, and every shorter one on the other.
Status TextSplitter::try_cuts(const std::string& where) {
  Scratch scratch = make_scratch();
  cut_before_space_ = cut_behind_newline_ = true;
  const std::vector<std::string> few = strings_of(1), many = strings_of(2);
  const auto try_all = [&](const std::vector<std::string>& lefts,
                           const std::vector<std::string>& rights) {
    for (const std::string& left : lefts) {
      for (const std::string& right : rights) {
        for (const char* end : {"a", "7"}) {
          for (const char* begin : {" ", "\n"}) {
            if (!cut_before_space_) break;
            LEASEHOLD_RETURN_IF_ERROR(
                try_cut(left + end, begin + right, scratch, cut_before_space_));
          }
        }
        for (const char* end : {"a\n", "!\n"}) {
          for (const char* begin : {"a", "\xE4\xBB\x96"}) {
            if (!cut_behind_newline_) break;
            LEASEHOLD_RETURN_IF_ERROR(
                try_cut(left + end, begin + right, scratch, cut_behind_newline_));
          }
        }
      }
    }
    return ok_status();
  };
  LEASEHOLD_RETURN_IF_ERROR(try_all(many, few));
  LEASEHOLD_RETURN_IF_ERROR(try_all(few, many));
  if (cut_before_space_ || cut_behind_newline_) return ok_status();
  return error(
      Code::kBadData,
      "{}: the pre-tokenizer joins words over spaces and newlines, so a long text cannot "
      "be cut anywhere; use a tokenizer that splits at spaces, as GPT-2's and Llama 3's do",
      where);
}

bool TextSplitter::is(const SplitPattern& kind, std::string_view character) const {
  if (character.empty() || utf8_character_bytes(character) != character.size()) return false;
  SplitPattern::Scratch scratch(kind, /*deep=*/false);
  return kind.find(scratch, character, 0).found;
}

bool TextSplitter::is_letter(std::string_view character) const {
  if (character.size() == 1) return is_ascii_letter(character[0]);
  return is(letter_, character);
}

bool TextSplitter::is_word(std::string_view character) const {
  if (character.size() == 1) return is_ascii_letter(character[0]) || is_ascii_digit(character[0]);
  return is(word_, character);
}

bool TextSplitter::is_visible(std::string_view character) const {
  if (character.size() == 1) return character[0] > ' ' && character[0] < 0x7F;
  return is(visible_, character);
}

bool TextSplitter::may_cut(std::string_view text, size_t at) const {
  if (at == 0 || at >= text.size()) return false;
  const auto before = [&](size_t end) {
    const size_t begin = utf8_previous(text, end);
    return text.substr(begin, end - begin);
  };
  if (text[at] == ' ' || text[at] == '\n') return cut_before_space_ && is_word(before(at));
  if (!cut_behind_newline_ || text[at - 1] != '\n' || at < 2) return false;
  return is_visible(before(at - 1)) &&
         is_letter(text.substr(at, utf8_character_bytes(text.substr(at))));
}

bool TextSplitter::may_hold_cut(std::string_view token) const {
  for (size_t at = 1; at < token.size(); ++at) {
    if (may_cut(token, at)) return true;
    // A newline at the beginning of the token may follow any character.
    if (cut_behind_newline_ && at == 1 && token[0] == '\n' &&
        is_letter(token.substr(at, utf8_character_bytes(token.substr(at))))) {
      return true;
    }
  }
  return false;
}

bool TextSplitter::may_strip_over_cut(std::string_view token, bool left) const {
  // A cut has a letter right after it, or a letter or number right before it.
  if (left) return is_letter(token.substr(0, utf8_character_bytes(token)));
  return is_word(token.substr(utf8_previous(token, token.size())));
}

}  // namespace leasehold
