// Byte-level byte-pair encoding. Tokens are byte strings, written with one printable character for
// each byte ("Ġthe"; Radford et al., 2019, GPT-2). An ordered list of merges says which two
// neighbours become one token first.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "runtime/base/status.h"

namespace leasehold {

// Convert bytes to GPT-2's printable characters and back: ! to ~ and the printable rest of Latin-1
// stand for themselves, and U+0100, U+0101, ... for the others in order. The way back returns
// nullopt if a character stands for no byte.
std::string bytes_to_printable(std::string_view bytes);
std::optional<std::string> printable_to_bytes(std::string_view text);

// A vocabulary with its merges as in the files, still in printable characters.
struct BpeSource {
  std::vector<std::pair<std::string, int64_t>> vocab;
  struct Merge {
    std::string left, right;
    std::string place;  // "merges.txt: line 7", for messages
  };
  std::vector<Merge> merges;
  // A piece that is a token becomes that token, whatever the merges say.
  bool ignore_merges = false;
};

// Working memory of merge(), which the caller keeps; one per thread.
struct BpeScratch {
  struct Symbol {
    int32_t id, previous, next;  // neighbours are indices; -1: none; id -1: merged away
  };
  struct Candidate {
    int32_t rank, at, id, left, right;
  };
  std::vector<Symbol> symbols;
  std::vector<Candidate> heap;
};

class BpeVocabulary {
 public:
  static constexpr int64_t kMaxIds = int64_t{1} << 24;

  // Makes a vocabulary. kBadData, starting with `file` or the merge's place, for ids that are
  // negative, given twice or not below kMaxIds, and for merges that involve unknown tokens or are
  // given twice. kUnavailable for a byte without a token.
  static Result<BpeVocabulary> create(const BpeSource& source, const std::string& file);

  int64_t num_ids() const { return static_cast<int64_t>(bytes_.size()); }  // largest id + 1
  bool has(int64_t id) const {
    return id >= 0 && id < num_ids() && present_[static_cast<size_t>(id)];
  }
  const std::string& bytes(int32_t id) const { return bytes_[static_cast<size_t>(id)]; }
  // Returns the id of the token with these bytes, the smallest of several. Searches all tokens.
  std::optional<int32_t> find(std::string_view bytes) const;
  // Gives an id the bytes of an added token, unless text merges to the id. kBadData, starting with
  // `file`, if another token has the id, or the id is not below kMaxIds.
  Status add_whole(int64_t id, const std::string& content, const std::string& file);

  // Appends the tokens of one piece. The lowest-ranked merge comes first, and of equal ones the
  // leftmost, as in Hugging Face's library. O(n log n). At most 2^31 - 1 bytes.
  void merge(std::string_view piece, BpeScratch& scratch, std::vector<int32_t>& out) const;

 private:
  struct Merged {
    int32_t rank = -1;
    int32_t id = -1;
  };
  // A hash table with open addressing, whose keys are two ids.
  class MergeTable {
   public:
    void reserve(size_t count);
    bool insert(int32_t left, int32_t right, Merged merged);  // false: it exists already
    Merged find(int32_t left, int32_t right) const;

   private:
    struct Slot {
      uint64_t key = UINT64_MAX;
      Merged merged;
    };
    size_t slot_of(uint64_t key) const;
    std::vector<Slot> slots_;
    int shift_ = 64;
  };

  Status add_vocab(const BpeSource& source, const std::string& file,
                   std::unordered_map<std::string_view, int32_t>& ids);
  Status add_merges(const BpeSource& source,
                    const std::unordered_map<std::string_view, int32_t>& ids);
  void add(int64_t id, std::string_view bytes);
  bool comes_from_text(int64_t id) const;
  void push_candidate(BpeScratch& scratch, int32_t at) const;

  std::vector<std::string> bytes_;
  std::vector<bool> present_;
  std::vector<bool> merged_;  // by id of the vocabulary: true if two others merge to it
  std::array<int32_t, 256> byte_ids_{};
  MergeTable merges_;
  std::unordered_map<std::string, int32_t> whole_;  // with ignore_merges: tokens by bytes
};

}  // namespace leasehold
