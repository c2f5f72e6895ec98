// Reads the bytes of an input file in order, and unpacks them if the file is packed.
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
  // Opens a file; `name` is its name in messages. kMissingInput if it cannot be opened.
  static Result<InputStream> open(FileSystem& files, const std::string& path,
                                  const std::string& name, std::optional<Packing> packing);

  // Appends the next `count` bytes to `out`, fewer only at the end of the stream, and returns their
  // number. kBadData, naming the file and the offset in it, if packed bytes are damaged or cut off.
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
  std::unique_ptr<Unpacker> unpacker_;  // null: the file is not packed
  int64_t file_offset_ = 0;
  std::string packed_;  // bytes of the file; those before packed_at_ are used
  size_t packed_at_ = 0;
};

// Returns the first `count` bytes of the stream, or all of a shorter one.
Result<std::string> read_head(FileSystem& files, const std::string& path, const std::string& name,
                              std::optional<Packing> packing, int64_t count);

// Reads a packed file once to its end, and returns the number of unpacked bytes. Tells `advance`
// how many more bytes of the file are done; an error of `advance` ends the reading.
Result<int64_t> measure_unpacked(FileSystem& files, const std::string& path,
                                 const std::string& name, Packing packing,
                                 const std::function<Status(int64_t)>& advance);

}  // namespace leasehold
