// A file of tokens in llm.c's format: a header of 256 x int32 (magic 20240520, version 1, count:
// uint16 tokens; magic 20240801, version 7, count: uint32 tokens), then the tokens, little-endian.
// A count of 2^32 or more has its high half in the word after the count. llm.c leaves that word
// zero, so every llm.c file reads the same.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "runtime/base/digest.h"
#include "runtime/base/files.h"
#include "runtime/base/limited_reader.h"

namespace leasehold {

inline constexpr int64_t kTokenHeaderBytes = 1024;

struct TokenHeader {
  int64_t num_tokens = 0;
  int token_bytes = 2;  // 2 or 4
};

// Parses and checks the first kTokenHeaderBytes of a file of `file_bytes` bytes (pure; fuzzed).
// kBadData, naming `path` and the expected value, for a short file, an unknown magic or version, or
// a size that does not fit the count.
Result<TokenHeader> parse_token_header(std::span<const uint8_t> bytes, int64_t file_bytes,
                                       const std::string& path);
// Returns the header of a new file with uint16 (vocab <= 65536) or uint32 tokens.
std::string make_token_header(int64_t num_tokens, int token_bytes);

class TokenFile {
 public:
  static constexpr double kReadLimitS = 300;

  // Opens a file. A read may take `limit_s` seconds.
  static Result<TokenFile> open(FileSystem& files, const std::string& path,
                                double limit_s = kReadLimitS);

  const std::string& path() const { return path_; }
  int64_t num_tokens() const { return header_.num_tokens; }
  int token_bytes() const { return header_.token_bytes; }
  // Reads tokens [begin, begin + out.size()), which must lie inside the file, as int32. kBadData,
  // naming file, position and id, if an id is not below `vocab` (at most 2^31), and if the file has
  // become shorter; kStorage if it cannot be read; kUnavailable after the limit. Thread-safe.
  Status read(int64_t begin, std::span<int32_t> out, int64_t vocab) const;
  // Returns a digest that identifies the data: XXH3-128 over the header and all tokens. In files
  // above 64 MiB it covers the header and 1024 evenly spaced blocks of 64 KiB, the first after the
  // header and the last at the end. Fails like read.
  Result<Digest128> digest() const;

 private:
  TokenFile(std::string path, std::shared_ptr<LimitedReader> file, TokenHeader header);
  Status read_bytes(int64_t offset, int64_t size_bytes,
                    const std::function<void(std::span<const uint8_t>)>& use) const;

  std::string path_;
  std::shared_ptr<LimitedReader> file_;
  TokenHeader header_;
};

}  // namespace leasehold
