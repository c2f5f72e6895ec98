#include "runtime/data/bpe_vocabulary.h"

#include <algorithm>
#include <bit>

#include "runtime/base/check.h"
#include "runtime/data/utf8.h"

namespace leasehold {

namespace {

constexpr const char* kBpeWayOut = "take the tokenizer's files again, unchanged";

struct ByteAlphabet {
  std::array<uint16_t, 256> character{};  // for a byte
  std::array<int16_t, 0x200> byte{};      // for a character; -1: none

  constexpr ByteAlphabet() {
    byte.fill(-1);
    uint16_t next = 0x100;
    for (int b = 0; b < 256; ++b) {
      const bool itself = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
      const uint16_t c = itself ? static_cast<uint16_t>(b) : next++;
      character[static_cast<size_t>(b)] = c;
      byte[c] = static_cast<int16_t>(b);
    }
  }
};
constexpr ByteAlphabet kAlphabet;

uint64_t pair_key(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

// Orders a heap with the smallest (rank, position) on top.
struct Later {
  bool operator()(const BpeScratch::Candidate& a, const BpeScratch::Candidate& b) const {
    return a.rank != b.rank ? a.rank > b.rank : a.at > b.at;
  }
};

}  // namespace

std::string bytes_to_printable(std::string_view bytes) {
  std::string text;
  for (const char raw : bytes) {
    const uint16_t c = kAlphabet.character[static_cast<uint8_t>(raw)];
    if (c < 0x80) {
      text += static_cast<char>(c);
    } else {
      text += static_cast<char>(0xC0 | c >> 6);
      text += static_cast<char>(0x80 | (c & 0x3F));
    }
  }
  return text;
}

std::optional<std::string> printable_to_bytes(std::string_view text) {
  std::string bytes;
  for (size_t at = 0; at < text.size();) {
    const size_t length = utf8_character_bytes(text.substr(at));
    const auto first = static_cast<uint8_t>(text[at]);
    uint32_t c = first;
    if (length == 2) c = (first & 0x1Fu) << 6 | (static_cast<uint8_t>(text[at + 1]) & 0x3Fu);
    if (length == 0 || length > 2 || c >= kAlphabet.byte.size() || kAlphabet.byte[c] < 0)
      return std::nullopt;
    bytes += static_cast<char>(kAlphabet.byte[c]);
    at += length;
  }
  return bytes;
}

void BpeVocabulary::MergeTable::reserve(size_t count) {
  const size_t size = std::bit_ceil(std::max<size_t>(16, 2 * count));
  slots_.assign(size, {});
  shift_ = 64 - std::countr_zero(size);
}

// Returns the slot of the key, or the free slot where it belongs.
size_t BpeVocabulary::MergeTable::slot_of(uint64_t key) const {
  size_t at = key * 0x9E3779B97F4A7C15u >> shift_;
  while (slots_[at].key != key && slots_[at].key != UINT64_MAX) at = (at + 1) & (slots_.size() - 1);
  return at;
}

bool BpeVocabulary::MergeTable::insert(int32_t left, int32_t right, Merged merged) {
  Slot& slot = slots_[slot_of(pair_key(left, right))];
  if (slot.key != UINT64_MAX) return false;
  slot = {pair_key(left, right), merged};
  return true;
}

BpeVocabulary::Merged BpeVocabulary::MergeTable::find(int32_t left, int32_t right) const {
  return slots_[slot_of(pair_key(left, right))].merged;
}

Result<BpeVocabulary> BpeVocabulary::create(const BpeSource& source, const std::string& file) {
  BpeVocabulary made;
  std::unordered_map<std::string_view, int32_t> ids;
  LEASEHOLD_RETURN_IF_ERROR(made.add_vocab(source, file, ids));
  LEASEHOLD_RETURN_IF_ERROR(made.add_merges(source, ids));
  for (int byte = 0; byte < 256; ++byte) {
    const std::string printable = bytes_to_printable(std::string(1, static_cast<char>(byte)));
    const auto found = ids.find(printable);
    if (found == ids.end()) {
      return error(Code::kUnavailable,
                   "{}: the vocabulary has no token for the byte {:#04x} ('{}'), so it is no "
                   "byte-level one; {}",
                   file, byte, printable, kBpeWayOut);
    }
    made.byte_ids_[static_cast<size_t>(byte)] = found->second;
  }
  return made;
}

Status BpeVocabulary::add_vocab(const BpeSource& source, const std::string& file,
                                std::unordered_map<std::string_view, int32_t>& ids) {
  for (const auto& [token, id] : source.vocab) {
    if (id < 0 || id >= kMaxIds) {
      return error(Code::kBadData, "{}: the token '{}' has the id {}; ids are 0 to {}; {}", file,
                   token, id, kMaxIds - 1, kBpeWayOut);
    }
    if (has(id)) {
      return error(Code::kBadData, "{}: the tokens '{}' and '{}' both have the id {}; {}", file,
                   bytes_to_printable(bytes(static_cast<int32_t>(id))), token, id, kBpeWayOut);
    }
    if (!ids.emplace(token, static_cast<int32_t>(id)).second) {
      return error(Code::kBadData, "{}: the token '{}' occurs twice; {}", file, token, kBpeWayOut);
    }
    // A token with other characters is never the result of a merge. It keeps its own text, as
    // Hugging Face decodes it.
    const auto decoded = printable_to_bytes(token);
    add(id, decoded ? *decoded : token);
    if (source.ignore_merges && decoded) whole_.emplace(*decoded, static_cast<int32_t>(id));
  }
  return ok_status();
}

Status BpeVocabulary::add_merges(const BpeSource& source,
                                 const std::unordered_map<std::string_view, int32_t>& ids) {
  merges_.reserve(source.merges.size());
  merged_.resize(bytes_.size());
  int32_t rank = 0;
  for (const BpeSource::Merge& merge : source.merges) {
    const std::string merged = merge.left + merge.right;
    const auto unknown = [&](const std::string& token) { return !ids.contains(token); };
    for (const std::string& token : {merge.left, merge.right, merged}) {
      if (!unknown(token)) continue;
      return error(Code::kBadData,
                   "{}: the merge '{} {}' names '{}', which is not in the vocabulary; {}",
                   merge.place, merge.left, merge.right, token, kBpeWayOut);
    }
    merged_[static_cast<size_t>(ids.at(merged))] = true;
    if (!merges_.insert(ids.at(merge.left), ids.at(merge.right), {rank++, ids.at(merged)})) {
      return error(Code::kBadData, "{}: the merge '{} {}' was given before; {}", merge.place,
                   merge.left, merge.right, kBpeWayOut);
    }
  }
  return ok_status();
}

void BpeVocabulary::add(int64_t id, std::string_view bytes) {
  LEASEHOLD_CHECK(id >= 0 && id < kMaxIds && !has(id), "id {} of {}", id, num_ids());
  const auto index = static_cast<size_t>(id);
  if (index >= bytes_.size()) {
    bytes_.resize(index + 1);
    present_.resize(index + 1);
  }
  bytes_[index] = bytes;
  present_[index] = true;
}

Status BpeVocabulary::add_whole(int64_t id, const std::string& content, const std::string& file) {
  if (id < 0 || id >= kMaxIds) {
    return error(Code::kBadData, "{}: the added token '{}' has the id {}; ids are 0 to {}; {}",
                 file, content, id, kMaxIds - 1, kBpeWayOut);
  }
  if (!has(id)) {
    add(id, content);
    return ok_status();
  }
  // The trainer may have added the token to the vocabulary as plain text, not in printable
  // characters.
  std::string& bytes = bytes_[static_cast<size_t>(id)];
  const bool same = bytes == content || printable_to_bytes(content) == bytes;
  if (!same) {
    return error(Code::kBadData, "{}: the added token '{}' has the id {} of '{}'; give it its own",
                 file, content, id, bytes_to_printable(bytes));
  }
  if (!comes_from_text(id)) bytes = content;
  return ok_status();
}

// Returns true if merge() may produce the id. An added id has no place in merged_.
bool BpeVocabulary::comes_from_text(int64_t id) const {
  const auto index = static_cast<size_t>(id);
  const std::string& text = bytes_[index];
  if (text.size() == 1 || (index < merged_.size() && merged_[index])) return true;
  return whole_.contains(text) && utf8_prefix_bytes(text) == text.size();
}

std::optional<int32_t> BpeVocabulary::find(std::string_view bytes) const {
  for (size_t id = 0; id < bytes_.size(); ++id) {
    if (present_[id] && bytes_[id] == bytes) return static_cast<int32_t>(id);
  }
  return std::nullopt;
}

void BpeVocabulary::push_candidate(BpeScratch& scratch, int32_t at) const {
  const BpeScratch::Symbol& symbol = scratch.symbols[static_cast<size_t>(at)];
  if (symbol.next < 0) return;
  const int32_t right = scratch.symbols[static_cast<size_t>(symbol.next)].id;
  const Merged merged = merges_.find(symbol.id, right);
  if (merged.id < 0) return;
  scratch.heap.push_back({merged.rank, at, merged.id, symbol.id, right});
  std::ranges::push_heap(scratch.heap, Later{});
}

void BpeVocabulary::merge(std::string_view piece, BpeScratch& scratch,
                          std::vector<int32_t>& out) const {
  if (!whole_.empty()) {
    const auto found = whole_.find(std::string(piece));
    if (found != whole_.end()) {
      out.push_back(found->second);
      return;
    }
  }
  auto& symbols = scratch.symbols;
  const auto count = static_cast<int32_t>(piece.size());
  symbols.resize(piece.size());
  scratch.heap.clear();
  for (int32_t i = 0; i < count; ++i) {
    const auto byte = static_cast<uint8_t>(piece[static_cast<size_t>(i)]);
    symbols[static_cast<size_t>(i)] = {byte_ids_[byte], i - 1, i + 1 < count ? i + 1 : -1};
  }
  for (int32_t i = 0; i < count; ++i) push_candidate(scratch, i);
  while (!scratch.heap.empty()) {
    std::ranges::pop_heap(scratch.heap, Later{});
    const BpeScratch::Candidate best = scratch.heap.back();
    scratch.heap.pop_back();
    BpeScratch::Symbol& left = symbols[static_cast<size_t>(best.at)];
    // Either neighbour may have been merged with another one since.
    if (left.id != best.left || left.next < 0) continue;
    BpeScratch::Symbol& right = symbols[static_cast<size_t>(left.next)];
    if (right.id != best.right) continue;
    left.id = best.id;
    right.id = -1;
    left.next = right.next;
    if (left.next >= 0) symbols[static_cast<size_t>(left.next)].previous = best.at;
    push_candidate(scratch, best.at);
    if (left.previous >= 0) push_candidate(scratch, left.previous);
  }
  for (int32_t i = 0; i >= 0 && i < count; i = symbols[static_cast<size_t>(i)].next) {
    out.push_back(symbols[static_cast<size_t>(i)].id);
  }
}

}  // namespace leasehold
