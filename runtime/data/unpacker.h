// Unpacks packed streams (gzip, Zstandard, bzip2, xz) while they are read. Each format uses its own
// library's decoder, which checks all that the format allows to check.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "runtime/base/status.h"

namespace leasehold {

enum class Packing { kGzip, kZstd, kBzip2, kXz };

// Returns the packing that the first bytes show; nullopt for other files. Ten bytes are enough.
std::optional<Packing> find_packing(std::string_view head);
// Returns "gzip", "Zstandard", ...
std::string_view packing_name(Packing packing);
// Returns the name of the unpacked file: "a.jsonl" for "a.jsonl.gz"; the same name without a known
// suffix.
std::string_view unpacked_name(std::string_view path);

// A decoder for a file's bytes, in order. A file may hold several streams one after another, as
// `cat a.gz b.gz` makes one, and zeros after the last.
class Unpacker {
 public:
  // The bytes that one call has consumed and produced.
  struct Progress {
    size_t taken = 0;
    size_t given = 0;
  };

  virtual ~Unpacker() = default;
  // Unpacks some of `in` into `out`. Consumes or produces at least a byte, unless `in` is empty and
  // nothing is buffered. kBadData, with a reason but no place, for bytes that are damaged or not a
  // stream. `out_bytes` must not be 0.
  virtual Result<Progress> unpack(std::string_view in, char* out, size_t out_bytes) = 0;
  // Returns true if the bytes so far end at the end of a stream.
  virtual bool at_end() const = 0;
};

std::unique_ptr<Unpacker> create_unpacker(Packing packing);

}  // namespace leasehold
