// The file-system seam: everything that Leasehold stores or loads goes through a FileSystem, so
// that tests can fill the disk, tear a write, lose what was not synced or flip a bit. Paths are
// plain strings, absolute or relative to the working directory. Every error names the path and,
// where there is one, the system's own words.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/status.h"

namespace leasehold {

// A file open for reading. Thread-safe.
class ReadableFile {
 public:
  virtual ~ReadableFile() = default;
  virtual int64_t size_bytes() const = 0;
  // Exactly `size_bytes` bytes at `offset`; kBadData when the file ends before.
  virtual Status read_at(int64_t offset, void* out, int64_t size_bytes) = 0;
};

// A new file open for writing. Not complete until `sync` and `close` both returned ok.
class WritableFile {
 public:
  virtual ~WritableFile() = default;
  virtual Status append(const void* data, int64_t size_bytes) = 0;
  // Overwrites bytes that were appended (a header that counts what follows it); never grows the
  // file.
  virtual Status overwrite(int64_t offset, const void* data, int64_t size_bytes) = 0;
  virtual Status sync() = 0;  // fsync
  virtual Status close() = 0;
};

// Bytes of a whole file, mapped read-only.
class MappedFile {
 public:
  virtual ~MappedFile() = default;
  virtual const void* data() const = 0;
  virtual int64_t size_bytes() const = 0;
};

// A directory held open. What is read and removed through it belongs to that directory, whatever
// its name stands for by now: another writer may have moved it and put a directory of its own in
// its place.
class OpenDirectory {
 public:
  virtual ~OpenDirectory() = default;
  virtual Result<std::vector<std::string>> list() = 0;  // names, sorted bytewise
  // The whole file; kMissingInput when there is none, kBadData above the limit.
  virtual Result<std::string> read(const std::string& name, int64_t limit_bytes) = 0;
  // Removes a file, or a directory with all that it holds. Removing what is not there is ok.
  virtual Status remove(const std::string& name) = 0;
  virtual Status sync() = 0;
  // Removes the name under which it was opened, if that is an empty directory; else changes
  // nothing.
  virtual Status remove_name_if_empty() = 0;
};

// A log open for appending: one writer's, while writers that it does not know of may still be about
// to append or cut. So each change says which size it expects, and changes nothing where another
// writer was faster: kBadConfig.
class LogFile {
 public:
  virtual ~LogFile() = default;
  // One write(2) with O_APPEND. After kStorage a beginning of `bytes` may be there.
  virtual Status append_at(int64_t size_bytes, std::string_view bytes) = 0;
  // Cuts what follows the first `to_bytes`.
  virtual Status cut(int64_t size_bytes, int64_t to_bytes) = 0;
  virtual Status sync() = 0;  // fdatasync
};

// An exclusive lock, held until destroyed (or until the process ends).
class FileLock {
 public:
  virtual ~FileLock() = default;
};

class FileSystem {
 public:
  virtual ~FileSystem() = default;

  // Errors: kMissingInput when there is no such file, kStorage otherwise.
  virtual Result<std::unique_ptr<ReadableFile>> open(const std::string& path) = 0;
  virtual Result<std::unique_ptr<MappedFile>> map(const std::string& path) = 0;
  // Truncates an existing file.
  virtual Result<std::unique_ptr<WritableFile>> create(const std::string& path) = 0;
  // Creates `path` with `content`, durably; kBadConfig when it exists already. The way to claim a
  // name: of several callers at most one succeeds, also over NFS, and the file is never seen half
  // written.
  virtual Status create_exclusive(const std::string& path, std::string_view content) = 0;
  // Appends to a file that several writers share, on several machines too; creates it if need be.
  // Appends take turns by a lock of the system's, so that none overwrites another on NFS, and one
  // that fails leaves nothing behind. A lock that cannot be had within a second is done without.
  virtual Status append_line(const std::string& path, std::string_view line) = 0;
  // Creates the file if need be.
  virtual Result<std::unique_ptr<LogFile>> open_log(const std::string& path) = 0;
  // Replaces `to`, atomically. kBadConfig, and nothing is changed, when `to` is a directory that
  // holds something: of several writers that rename a directory to one name, the first one has it.
  virtual Status rename(const std::string& from, const std::string& to) = 0;
  // Makes the names in a directory durable (fsync of the directory).
  virtual Status sync_directory(const std::string& path) = 0;
  virtual Status make_directories(const std::string& path) = 0;
  // Removing what is not there is ok.
  virtual Status remove_all(const std::string& path) = 0;
  virtual bool exists(const std::string& path) = 0;
  // Names (not paths), sorted bytewise; kMissingInput when there is no such directory.
  virtual Result<std::vector<std::string>> list(const std::string& path) = 0;
  // kMissingInput when there is no such directory.
  virtual Result<std::unique_ptr<OpenDirectory>> open_directory(const std::string& path) = 0;
  // Takes the lock without waiting, writing `owner` into the file; when it is taken, kBadConfig
  // with a message that quotes what the present owner wrote.
  virtual Result<std::unique_ptr<FileLock>> lock(const std::string& path,
                                                 std::string_view owner) = 0;
};

// The operating system's files.
FileSystem& posix_files();

// The operating system's files where others may write, too (/dev/shm), and secrets. open() and
// map() refuse what this user did not make for itself: a symbolic link, no regular file, another
// user's file, one with several names, one that others may open (kBadData, naming the path and what
// is wrong). create() and create_exclusive() make a new file that its owner alone may open, and fail
// where the name is taken. The rest is as with posix_files().
FileSystem& private_files();

// The whole file as bytes. Refuses files above `limit_bytes` with kBadData, so that a hostile path
// cannot eat memory.
Result<std::string> read_file(FileSystem& files, const std::string& path,
                              int64_t limit_bytes = int64_t{1} << 30);
// The same of a file that is open; `path` is for messages.
Result<std::string> read_whole(ReadableFile& file, const std::string& path, int64_t limit_bytes);
// Writes `path` so that it is seen whole or not at all, and durable when this returns: temporary,
// sync, rename, sync of the directory. `tag` makes the temporary's name unique among writers.
Status publish_file(FileSystem& files, const std::string& path, std::string_view content,
                    const std::string& tag);

// Path arithmetic, textual only.
std::string join_path(const std::string& directory,
                      const std::string& name);    // an absolute `name` wins
std::string parent_path(const std::string& path);  // "." when there is no slash

}  // namespace leasehold
