// The .idx of a Megatron-LM dataset, which divides the tokens of the .bin next to it into sequences
// and documents: "MMIDIDX\0\0", u64 version 1, u8 dtype, u64 sequences, u64 document entries, then
// int32 lengths (tokens), int64 pointers (bytes into the .bin) and int64 document indices (the
// first sequence of each document, and the number of sequences), little-endian.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "runtime/base/status.h"

namespace leasehold {

class MegatronIndex {
 public:
  // Parses a whole .idx file, which must outlive this object, for a .bin of `bin_bytes`. Checks
  // every entry (fuzzed): the sequences must lie one after another in the .bin and fill it, and the
  // documents must fill the sequences. kBadData, naming `path`, the entry and the way out. Floats
  // are refused, since they are not tokens.
  static Result<MegatronIndex> parse(std::span<const uint8_t> bytes, int64_t bin_bytes,
                                     const std::string& path);

  int token_bytes() const { return token_bytes_; }
  int64_t num_sequences() const { return num_sequences_; }
  int64_t num_documents() const { return num_entries_ - 1; }
  int64_t num_tokens() const { return num_tokens_; }
  // Returns the first token of document 0 .. num_documents(); for the last value, num_tokens().
  int64_t document_begin(int64_t document) const;
  // Reads tokens [begin, begin + out.size()) of the .bin that `bin` maps. kBadData, naming
  // `bin_path` and position, for a token that is negative or not below `vocab`.
  Status read(std::span<const uint8_t> bin, int64_t begin, std::span<int32_t> out, int64_t vocab,
              const std::string& bin_path) const;

 private:
  MegatronIndex() = default;
  Status check(const std::string& path, int64_t bin_bytes);
  int64_t length(int64_t sequence) const;
  int64_t pointer(int64_t sequence) const;  // in bytes
  int64_t entry(int64_t document) const;    // the document's first sequence

  std::span<const uint8_t> bytes_;
  int dtype_ = 0;
  int token_bytes_ = 0;
  int64_t num_sequences_ = 0;
  int64_t num_entries_ = 0;
  int64_t num_tokens_ = 0;
};

// Returns true if a file with this beginning claims to be an .idx.
bool has_megatron_magic(std::span<const uint8_t> bytes);

}  // namespace leasehold
