// Reads of a file with a deadline. A read of a mount that is gone hangs in the kernel, where
// nothing ends it: so a thread of its own reads, and the caller waits for it no longer than it
// wants to.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "runtime/base/files.h"
#include "runtime/base/status.h"

namespace leasehold {

class LimitedReader {
 public:
  // Reads `file`, which messages call `path`; a read may take `limit_s` seconds.
  LimitedReader(std::unique_ptr<ReadableFile> file, std::string path, double limit_s);
  // Never waits for a read that hangs: its thread stays behind with the file.
  ~LimitedReader();
  LimitedReader(const LimitedReader&) = delete;
  LimitedReader& operator=(const LimitedReader&) = delete;

  int64_t size_bytes() const;  // when the file was opened
  // Calls `use` with `size_bytes` bytes at `offset`, which it may look at until it returns.
  // Thread-safe: one read after another. Errors of the file's read_at; kUnavailable, naming the
  // file and the place, past the limit and from then on.
  Status read_at(int64_t offset, int64_t size_bytes,
                 const std::function<void(std::span<const uint8_t>)>& use);

 private:
  struct Shared;
  std::shared_ptr<Shared> shared_;
};

}  // namespace leasehold
