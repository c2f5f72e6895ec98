// Open descriptors, and the ways in which POSIX opens, writes and names files: what posix_files.cc
// and posix_open_files.cc share.
#pragma once

#include <cstdint>
#include <string>
#include <sys/types.h>
#include <unistd.h>
#include <utility>

#include "runtime/base/status.h"

namespace leasehold {

inline constexpr mode_t kFileMode = 0666;  // less what the umask takes away

// kMissingInput where a name is missing, else kStorage.
Status system_error(const std::string& what, const std::string& path, int number);
// kStorage: writing where a directory is missing is a storage failure, not a missing input.
Status write_error(const std::string& what, const std::string& path, int number);
// True when a call is missing in this file system: the next try will find it missing, too.
bool is_missing_call(int number);

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

Status write_all(int fd, const std::string& path, const void* data, int64_t size_bytes);

// Creates a new file next to `path`, with what the umask leaves of `mode`: mkstemp(3) would make
// one for its owner alone. A descriptor below 0 and errno when that fails.
Descriptor create_temporary(const std::string& path, mode_t mode, std::string* temporary);

// Gives the file `temporary`, open as `fd`, the name `path` if nobody has it yet. Without hard
// links by a rename that replaces nothing, which file systems of one machine have (FAT, many FUSE).
Status name_exclusively(int fd, const std::string& temporary, const std::string& path);

// Opens a regular file for reading; a private one must be this user's alone.
Result<Descriptor> open_regular(int directory, const std::string& name, const std::string& path,
                                bool is_private, int64_t* size_bytes);
Result<Descriptor> open_regular(const std::string& path, bool is_private, int64_t* size_bytes);

}  // namespace leasehold
