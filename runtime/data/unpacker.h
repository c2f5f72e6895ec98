// Packed streams (gzip, Zstandard, bzip2, xz) unpacked as they are read. Each is its own library's
// decoder, which checks what the format has to check with.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "runtime/base/status.h"

namespace leasehold {

enum class Packing { kGzip, kZstd, kBzip2, kXz };

// By the first bytes; none for a file that is not packed so. Ten bytes are enough.
std::optional<Packing> find_packing(std::string_view head);
// "gzip", "Zstandard", ...
std::string_view packing_name(Packing packing);
// The name that a file has unpacked: "a.jsonl" of "a.jsonl.gz"; the same without a known suffix.
std::string_view unpacked_name(std::string_view path);

// One decoder, for a file's bytes in their order. A file may hold several streams one after the
// other, as `cat a.gz b.gz` makes one, and zeros after the last.
class Unpacker {
 public:
  // The bytes that one call has taken and given.
  struct Progress {
    size_t taken = 0;
    size_t given = 0;
  };

  virtual ~Unpacker() = default;
  // Unpacks some of `in` into `out`. Takes or gives at least a byte, unless `in` is empty and
  // nothing is left inside. kBadData, with a reason but no place, for bytes that are damaged or no
  // stream. `out_bytes` must not be 0.
  virtual Result<Progress> unpack(std::string_view in, char* out, size_t out_bytes) = 0;
  // Returns true when the bytes so far end where a stream ends.
  virtual bool at_end() const = 0;
};

std::unique_ptr<Unpacker> create_unpacker(Packing packing);

}  // namespace leasehold
