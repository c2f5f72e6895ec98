// Reads a file with a deadline. A read on a mount that is gone hangs in the kernel, where nothing
// can interrupt it. So a separate thread reads, and the caller waits for it as long as it wants to.
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
  // Takes `file`, which messages call `path`. A read may take `limit_s` seconds.
  LimitedReader(std::unique_ptr<ReadableFile> file, std::string path, double limit_s);
  // Never waits for a read that hangs: its thread is left running and keeps the file.
  ~LimitedReader();
  LimitedReader(const LimitedReader&) = delete;
  LimitedReader& operator=(const LimitedReader&) = delete;

  int64_t size_bytes() const;  // at the time the file was opened
  // Reads `size_bytes` bytes at `offset` and calls `use` with them; they are valid until it
  // returns. Thread-safe: reads take turns. Fails with the errors of the file's read_at. Once a
  // read has taken too long, it and all later reads fail with kUnavailable, which names the file
  // and the place.
  Status read_at(int64_t offset, int64_t size_bytes,
                 const std::function<void(std::span<const uint8_t>)>& use);

 private:
  struct Shared;
  std::shared_ptr<Shared> shared_;
};

}  // namespace leasehold
