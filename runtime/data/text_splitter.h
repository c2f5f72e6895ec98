// Splits text into the pieces within which a byte-level BPE merges: maximal runs of UTF-8, which
// patterns cut one after another, and single bytes that belong to no UTF-8 character.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/data/split_pattern.h"
#include "runtime/data/utf8.h"

namespace leasehold {

// The treatment of a pattern's matches, as in Hugging Face's Split.
enum class SplitBehavior {
  kIsolated,            // a piece of its own
  kRemoved,             // not part of any piece
  kMergedWithPrevious,  // one piece with the part before, if that was no match
  kMergedWithNext,      // one piece with the part after, if that is no match
  kContiguous,          // neighbouring matches are one piece, and so are neighbouring other parts
};
std::string_view split_behavior_name(SplitBehavior behavior);  // "Isolated", ...
std::optional<SplitBehavior> parse_split_behavior(std::string_view name);

struct SplitStage {
  std::string pattern;
  SplitBehavior behavior = SplitBehavior::kIsolated;
  bool invert = false;  // swaps matches and the parts between them

  bool operator==(const SplitStage&) const = default;
};

class TextSplitter {
 public:
  // Makes a splitter. kBadData, starting with `where`, also if the patterns leave no place to cut a
  // stream.
  static Result<TextSplitter> create(const std::vector<SplitStage>& stages,
                                     const std::string& where);

  // Returns the patterns for which create() need not try whether a stream may be cut, since the
  // tests have tried it. This holds for a single stage that isolates its matches.
  static std::span<const std::string_view> tried_patterns();

  class Scratch {
   private:
    friend class TextSplitter;
    std::vector<SplitPattern::Scratch> stages_;
  };
  Scratch make_scratch() const;

  // Calls piece(part) for every piece, in order, as a view into `text`. Their concatenation is
  // `text` without the parts that a stage removes.
  template <typename Piece>
  Status split(std::string_view text, Scratch& scratch, const Piece& piece) const {
    while (!text.empty()) {
      const size_t valid = utf8_prefix_bytes(text);
      if (valid > 0) LEASEHOLD_RETURN_IF_ERROR(stage(0, text.substr(0, valid), scratch, piece));
      text.remove_prefix(valid);
      if (text.empty()) break;
      piece(text.substr(0, 1));
      text.remove_prefix(1);
    }
    return ok_status();
  }

  // Returns true if cutting `text` at `at` (inside it) changes no piece, whatever precedes and
  // follows `text`. This is so between a letter or number and a space or newline, and after a
  // single newline between a visible character and a letter. create() has tried that it holds.
  bool may_cut(std::string_view text, size_t at) const;
  // Returns true if an added token with this text might cross such a place.
  bool may_hold_cut(std::string_view token) const;
  // Returns true if the white space that such a token includes, on its left or right, might cross
  // one.
  bool may_strip_over_cut(std::string_view token, bool left) const;

 private:
  struct Stage;
  TextSplitter(std::vector<Stage> stages, SplitPattern letter, SplitPattern word,
               SplitPattern visible);
  bool is(const SplitPattern& kind, std::string_view character) const;
  bool is_letter(std::string_view character) const;
  bool is_word(std::string_view character) const;
  bool is_visible(std::string_view character) const;
  Status try_cuts(const std::string& where);
  Status try_cut(std::string_view left, std::string_view right, Scratch& scratch,
                 bool& holds) const;

  struct Stage {
    SplitPattern pattern;
    SplitBehavior behavior;
    bool invert;
  };

  // Calls part(begin, end, is_match) for the matches and the parts between them, in order.
  template <typename Part>
  static Status for_each_match(const Stage& stage, SplitPattern::Scratch& scratch,
                               std::string_view text, const Part& part) {
    for (size_t at = 0; at < text.size();) {
      const SplitPattern::Match match = stage.pattern.find(scratch, text, at);
      if (match.error != 0) return SplitPattern::match_error(match.error);
      const size_t begin = match.found ? match.begin : text.size();
      if (begin > at) LEASEHOLD_RETURN_IF_ERROR(part(at, begin, stage.invert));
      if (!match.found) break;
      LEASEHOLD_RETURN_IF_ERROR(part(match.begin, match.end, !stage.invert));
      at = match.end;
    }
    return ok_status();
  }

  template <typename Piece>
  Status stage(size_t index, std::string_view text, Scratch& scratch, const Piece& piece) const {
    if (index == stages_.size()) {
      piece(text);
      return ok_status();
    }
    const Stage& own = stages_[index];
    const auto next = [&](size_t begin, size_t end) {
      return begin == end ? ok_status()
                          : stage(index + 1, text.substr(begin, end - begin), scratch, piece);
    };
    SplitPattern::Scratch& matching = scratch.stages_[index];
    if (own.behavior == SplitBehavior::kIsolated || own.behavior == SplitBehavior::kRemoved) {
      const bool removes = own.behavior == SplitBehavior::kRemoved;
      return for_each_match(own, matching, text, [&](size_t begin, size_t end, bool is_match) {
        return is_match && removes ? ok_status() : next(begin, end);
      });
    }
    // A part waits for the next one, which may join it.
    size_t held_begin = 0, held_end = 0;
    bool held_match = false;
    const auto take = [&](size_t begin, size_t end, bool is_match) {
      const bool joins = held_end > held_begin && joins_held(own.behavior, held_match, is_match);
      if (!joins) {
        LEASEHOLD_RETURN_IF_ERROR(next(held_begin, held_end));
        held_begin = begin;
      }
      held_end = end;
      held_match = is_match;
      return ok_status();
    };
    LEASEHOLD_RETURN_IF_ERROR(for_each_match(own, matching, text, take));
    return next(held_begin, held_end);
  }
  static bool joins_held(SplitBehavior behavior, bool held_match, bool is_match) {
    if (behavior == SplitBehavior::kContiguous) return held_match == is_match;
    if (behavior == SplitBehavior::kMergedWithPrevious) return is_match && !held_match;
    return held_match && !is_match;
  }

  std::vector<Stage> stages_;
  SplitPattern letter_, word_, visible_;  // \p{L}; \p{L} or \p{N}; anything but white space
  bool cut_before_space_ = false;
  bool cut_behind_newline_ = false;
};

}  // namespace leasehold
