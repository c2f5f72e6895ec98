// The interface to the file system. Leasehold stores and loads everything through a FileSystem, so
// that tests can fill the disk, tear a write, lose unsynced bytes or flip a bit. Paths are plain
// strings, absolute or relative to the working directory. Every error names the path and, where
// possible, the system's own error text.
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
  // Reads exactly `size_bytes` bytes at `offset`; kBadData if the file is too short.
  virtual Status read_at(int64_t offset, void* out, int64_t size_bytes) = 0;
};

// A new file open for writing. It is complete once `sync` and `close` have both returned ok.
class WritableFile {
 public:
  virtual ~WritableFile() = default;
  virtual Status append(const void* data, int64_t size_bytes) = 0;
  // Overwrites bytes that were appended, for example a header with the size of the rest. Never
  // grows the file.
  virtual Status overwrite(int64_t offset, const void* data, int64_t size_bytes) = 0;
  virtual Status sync() = 0;  // fsync
  virtual Status close() = 0;
};

// The bytes of a whole file, mapped read-only.
class MappedFile {
 public:
  virtual ~MappedFile() = default;
  virtual const void* data() const = 0;
  virtual int64_t size_bytes() const = 0;
};

// A directory held open. Reading and removing through it concern this directory, even if another
// writer has moved it and put another directory in its place.
class OpenDirectory {
 public:
  virtual ~OpenDirectory() = default;
  virtual Result<std::vector<std::string>> list() = 0;  // names, sorted bytewise
  // Reads the whole file; kMissingInput if it does not exist, kBadData above the limit.
  virtual Result<std::string> read(const std::string& name, int64_t limit_bytes) = 0;
  // Removes a file, or a directory with its content. Ok if the name does not exist.
  virtual Status remove(const std::string& name) = 0;
  virtual Status sync() = 0;
  // Removes the name under which the directory was opened, if that is an empty directory. Otherwise
  // changes nothing.
  virtual Status remove_name_if_empty() = 0;
};

// A log open for appending by one writer. Other writers may still append or cut without this one
// knowing. So each change names the size that it expects, and changes nothing if another writer was
// faster (kBadConfig).
class LogFile {
 public:
  virtual ~LogFile() = default;
  // Appends with one write(2) and O_APPEND. After kStorage the first part of `bytes` may be in the
  // file.
  virtual Status append_at(int64_t size_bytes, std::string_view bytes) = 0;
  // Cuts the file after its first `to_bytes` bytes.
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
  // Creates `path` with `content`, durably; kBadConfig if it exists already. This is how a name is
  // claimed: at most one of several callers succeeds, also over NFS, and nobody sees the file half
  // written.
  virtual Status create_exclusive(const std::string& path, std::string_view content) = 0;
  // Appends to a file that several writers share, possibly from several machines; creates it if
  // necessary. Writers take turns with a lock of the system, so that no append overwrites another
  // one on NFS. An append that fails leaves nothing in the file. If the lock is not free within a
  // second, appends without it.
  virtual Status append_line(const std::string& path, std::string_view line) = 0;
  // Creates the file if necessary.
  virtual Result<std::unique_ptr<LogFile>> open_log(const std::string& path) = 0;
  // Replaces `to`, atomically. If `to` is a directory with content, fails with kBadConfig and
  // changes nothing: of several writers that rename a directory to one name, the first one wins.
  virtual Status rename(const std::string& from, const std::string& to) = 0;
  // Makes the names in a directory durable (fsync of the directory).
  virtual Status sync_directory(const std::string& path) = 0;
  virtual Status make_directories(const std::string& path) = 0;
  // Removes a file, or a directory with its content. Ok if the path does not exist.
  virtual Status remove_all(const std::string& path) = 0;
  virtual bool exists(const std::string& path) = 0;
  // Returns names (not paths), sorted bytewise; kMissingInput if the directory does not exist.
  virtual Result<std::vector<std::string>> list(const std::string& path) = 0;
  // Fails with kMissingInput if the directory does not exist.
  virtual Result<std::unique_ptr<OpenDirectory>> open_directory(const std::string& path) = 0;
  // Takes the lock without waiting and writes `owner` into the file. If the lock is taken, fails
  // with kBadConfig and quotes what the present owner wrote. The holder may remove the file before
  // it releases the lock: whoever opened it meanwhile takes the lock of the new file instead.
  virtual Result<std::unique_ptr<FileLock>> lock(const std::string& path,
                                                 std::string_view owner) = 0;
};

// Returns the operating system's files.
FileSystem& posix_files();

// Returns the operating system's files for secrets and for directories where other users may write
// (/dev/shm). open() and map() refuse any file that this user did not create for itself alone: a
// symbolic link, anything but a regular file, another user's file, a file with several names, a
// file that other users may open (kBadData, naming the path and the reason). create() and
// create_exclusive() create a new file that its owner alone may open, and fail if the name is
// taken. All else is as with posix_files().
FileSystem& private_files();

// Reads a whole file as bytes. Refuses files above `limit_bytes` with kBadData, so that a hostile
// file cannot exhaust memory.
Result<std::string> read_file(FileSystem& files, const std::string& path,
                              int64_t limit_bytes = int64_t{1} << 30);
// Reads a whole open file in the same way; `path` is for messages.
Result<std::string> read_whole(ReadableFile& file, const std::string& path, int64_t limit_bytes);
// Writes `path` so that readers see all of it or nothing, and durably: writes a temporary file,
// syncs it, renames it, syncs the directory. `tag` makes the temporary name unique among writers.
Status publish_file(FileSystem& files, const std::string& path, std::string_view content,
                    const std::string& tag);

// Return paths, by their text alone. join_path returns `name` if it is absolute.
std::string join_path(const std::string& directory, const std::string& name);
std::string parent_path(const std::string& path);  // "." when there is no slash

}  // namespace leasehold
