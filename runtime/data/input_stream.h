// The bytes of an input file in their order, unpacked on the way where it is packed.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "runtime/base/files.h"
#include "runtime/data/unpacker.h"

namespace leasehold {

class InputStream {
 public:
  // `name` is the file's for messages. kMissingInput where it cannot be opened.
  static Result<InputStream> open(FileSystem& files, const std::string& path,
                                  const std::string& name, std::optional<Packing> packing);

  // Appends the next `count` bytes to `out`, fewer only where the stream ends; their number.
  // kBadData, naming the file and the offset in it, where packed bytes are damaged or cut off.
  Result<int64_t> read(int64_t count, std::string& out);
  // Returns the number of bytes of the file that have been read.
  int64_t file_bytes() const { return file_offset_ - held(); }

 private:
  InputStream(std::string name, std::unique_ptr<ReadableFile> file,
              std::unique_ptr<Unpacker> unpacker);
  int64_t held() const { return static_cast<int64_t>(packed_.size() - packed_at_); }
  Result<int64_t> read_plain(int64_t count, std::string& out);
  Status fill();
  Status damaged(const Status& status) const;

  std::string name_;
  std::unique_ptr<ReadableFile> file_;
  std::unique_ptr<Unpacker> unpacker_;  // null: the file is as it lies
  int64_t file_offset_ = 0;
  std::string packed_;  // bytes of the file, taken up to packed_at_
  size_t packed_at_ = 0;
};

// The first `count` bytes of the stream, fewer where it is shorter.
Result<std::string> read_head(FileSystem& files, const std::string& path, const std::string& name,
                              std::optional<Packing> packing, int64_t count);

// Reads a packed file once to its end: how many bytes it unpacks to. `advance` is told how many
// more bytes of the file are done, and may end it.
Result<int64_t> measure_unpacked(FileSystem& files, const std::string& path,
                                 const std::string& name, Packing packing,
                                 const std::function<Status(int64_t)>& advance);

}  // namespace leasehold
