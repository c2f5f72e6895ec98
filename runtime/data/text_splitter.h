// Text to the pieces within which a byte-level BPE merges: maximal runs of UTF-8 and single bytes
// that belong to none, the runs cut by patterns one after the other.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/data/split_pattern.h"
#include "runtime/data/utf8.h"

namespace leasehold {

class TextSplitter {
 public:
  // kBadData, starting with `where`, also when the patterns leave no place at which a stream may be
  // cut.
  static Result<TextSplitter> create(const std::vector<std::string>& patterns,
                                     const std::string& where);

  // Those for which create() need not try whether a stream may be cut, for it has been.
  static std::span<const std::string_view> tried_patterns();

  class Scratch {
   private:
    friend class TextSplitter;
    std::vector<SplitPattern::Scratch> stages_;
  };
  Scratch make_scratch() const;

  // Calls piece(part) for every piece, in order; their concatenation is `text`.
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

  // Whether cutting `text` at `at` (inside it) changes no piece, whatever stands before and behind:
  // between a letter or number and a space or newline, and behind a single newline between a
  // visible character and a letter. create() has tried that this holds.
  bool may_cut(std::string_view text, size_t at) const;
  // Whether an added token of this text might reach over such a place.
  bool may_hold_cut(std::string_view token) const;

 private:
  TextSplitter(std::vector<SplitPattern> stages, SplitPattern letter, SplitPattern word,
               SplitPattern visible);
  bool is(const SplitPattern& kind, std::string_view character) const;
  bool is_letter(std::string_view character) const;
  bool is_word(std::string_view character) const;
  bool is_visible(std::string_view character) const;
  Status try_cuts(const std::string& where);
  Status try_cut(std::string_view left, std::string_view right, Scratch& scratch,
                 bool& holds) const;

  template <typename Piece>
  Status stage(size_t index, std::string_view text, Scratch& scratch, const Piece& piece) const {
    if (index == stages_.size()) {
      piece(text);
      return ok_status();
    }
    size_t at = 0;
    while (at < text.size()) {
      const SplitPattern::Match match = stages_[index].find(scratch.stages_[index], text, at);
      if (match.error != 0) return SplitPattern::match_error(match.error);
      const size_t begin = match.found ? match.begin : text.size();
      if (begin > at) {
        LEASEHOLD_RETURN_IF_ERROR(stage(index + 1, text.substr(at, begin - at), scratch, piece));
      }
      if (!match.found) break;
      LEASEHOLD_RETURN_IF_ERROR(
          stage(index + 1, text.substr(match.begin, match.end - match.begin), scratch, piece));
      at = match.end;
    }
    return ok_status();
  }

  std::vector<SplitPattern> stages_;
  SplitPattern letter_, word_, visible_;  // \p{L}; \p{L} or \p{N}; no white space
  bool cut_before_space_ = false;
  bool cut_behind_newline_ = false;
};

}  // namespace leasehold
