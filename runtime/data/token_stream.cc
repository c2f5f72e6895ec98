#include "runtime/data/token_stream.h"

#include <algorithm>

#include "runtime/data/utf8.h"

namespace leasehold {

namespace {

// The most ids that are decoded together, and the number that is kept when there are more.
constexpr size_t kMostIds = 64;
constexpr std::ptrdiff_t kIdsKept = 16;

// U+FFFD, which a decoder writes for an incomplete character.
constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

// A character has at most four bytes. If three of them have arrived, each may be shown as an
// incomplete character.
constexpr size_t kMostHeldBytes = 3 * kReplacement.size();

// Counts the bytes at the end of `text` that may still become another character.
size_t unfinished_bytes(std::string_view text) {
  size_t held = 0;
  while (held < kMostHeldBytes && text.substr(0, text.size() - held).ends_with(kReplacement)) {
    held += kReplacement.size();
  }
  if (held > 0) return held;
  // At most three bytes can begin a character without ending it.
  for (size_t bytes = 1; bytes <= std::min<size_t>(3, text.size()); ++bytes) {
    const auto first = static_cast<uint8_t>(text[text.size() - bytes]);
    if (first < 0x80) return 0;
    if (first < 0xC0) continue;
    if (first < 0xC2 || first > 0xF4) return 0;
    return utf8_character_bytes(text.substr(text.size() - bytes)) == 0 ? bytes : 0;
  }
  return 0;
}

}  // namespace

Status TokenStream::skip(std::span<const int32_t> ids) {
  ids_.insert(ids_.end(), ids.begin(), ids.end());
  return keep_newest(0);
}

// Drops all but the newest ids. Their text counts as shown, except the `held` bytes at its end.
Status TokenStream::keep_newest(size_t held) {
  ids_.erase(ids_.begin(), ids_.end() - std::min(kIdsKept, std::ssize(ids_)));
  LEASEHOLD_ASSIGN_OR_RETURN(whole_, tokenizer_->decode(ids_));
  shown_ = whole_.substr(0, whole_.size() - std::min(held, whole_.size()));
  return ok_status();
}

Result<std::string> TokenStream::push(int32_t id) {
  const bool is_behind = whole_.size() > shown_.size() + kMostHeldBytes;
  if (ids_.size() >= kMostIds && whole_.starts_with(shown_) && !is_behind) {
    LEASEHOLD_RETURN_IF_ERROR(keep_newest(whole_.size() - shown_.size()));
  }
  ids_.push_back(id);
  LEASEHOLD_ASSIGN_OR_RETURN(whole_, tokenizer_->decode(ids_));
  const std::string_view ready =
      std::string_view(whole_).substr(0, whole_.size() - unfinished_bytes(whole_));
  // A decoder may rewrite what it returned before: wait until it agrees with the shown text.
  if (!ready.starts_with(shown_)) return std::string();
  std::string added(ready.substr(shown_.size()));
  shown_ += added;
  return added;
}

std::string TokenStream::finish() {
  const auto [same, whole] = std::ranges::mismatch(shown_, whole_);
  std::string rest(whole, whole_.end());
  shown_ = whole_;
  return rest;
}

}  // namespace leasehold
