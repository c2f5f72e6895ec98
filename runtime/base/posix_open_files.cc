#include "runtime/base/posix_open_files.h"

#include <algorithm>
#include <cerrno>
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <vector>

#include "runtime/base/check.h"

namespace leasehold {

namespace {

constexpr int64_t kWriteBackBytes = int64_t{32} << 20;

class PosixReadable : public ReadableFile {
 public:
  PosixReadable(std::string path, Descriptor fd, int64_t size_bytes)
      : path_(std::move(path)), fd_(std::move(fd)), size_bytes_(size_bytes) {}
  int64_t size_bytes() const override { return size_bytes_; }
  Status read_at(int64_t offset, void* out, int64_t size_bytes) override {
    char* bytes = static_cast<char*>(out);
    while (size_bytes > 0) {
      const ssize_t got = ::pread(
          fd_.get(), bytes, static_cast<size_t>(std::min<int64_t>(size_bytes, 1 << 30)), offset);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return system_error("reading", path_, errno);
      if (got == 0) {
        return error(Code::kBadData,
                     "{}: ends at byte {}, {} bytes were still expected (truncated?)", path_,
                     offset, size_bytes);
      }
      bytes += got;
      offset += got;
      size_bytes -= got;
    }
    return ok_status();
  }

 private:
  std::string path_;
  Descriptor fd_;
  int64_t size_bytes_;
};

class PosixWritable : public WritableFile {
 public:
  PosixWritable(std::string path, Descriptor fd) : path_(std::move(path)), fd_(std::move(fd)) {}
  Status append(const void* data, int64_t size_bytes) override {
    LEASEHOLD_RETURN_IF_ERROR(write_all(fd_.get(), path_, data, size_bytes));
    size_bytes_ += size_bytes;
    return write_back();
  }
  Status overwrite(int64_t offset, const void* data, int64_t size_bytes) override {
    LEASEHOLD_CHECK(offset >= 0 && size_bytes >= 0 && offset <= size_bytes_ - size_bytes,
                    "{}: overwriting {} bytes at {} of {}", path_, size_bytes, offset, size_bytes_);
    const char* bytes = static_cast<const char*>(data);
    while (size_bytes > 0) {
      const size_t chunk = static_cast<size_t>(std::min<int64_t>(size_bytes, 1 << 30));
      const ssize_t written = ::pwrite(fd_.get(), bytes, chunk, offset);
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return write_error("writing", path_, errno);
      bytes += written;
      offset += written;
      size_bytes -= written;
    }
    return ok_status();
  }
  Status sync() override {
    return ::fsync(fd_.get()) == 0 ? ok_status() : write_error("syncing", path_, errno);
  }
  Status close() override {
    return ::close(fd_.release()) == 0 ? ok_status() : write_error("closing", path_, errno);
  }

 private:
  // Starts to write appended bytes to the disk while the file grows. So sync() finds little left,
  // and no append of a large file is more than two windows ahead of the disk. Does nothing on a
  // file system that cannot do this.
  Status write_back() {
    constexpr unsigned kStart = SYNC_FILE_RANGE_WRITE;
    constexpr unsigned kFinish =
        SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
    while (size_bytes_ - written_back_ >= kWriteBackBytes) {
      const int64_t before = written_back_ - kWriteBackBytes;
      if (::sync_file_range(fd_.get(), written_back_, kWriteBackBytes, kStart) != 0 ||
          (before >= 0 && ::sync_file_range(fd_.get(), before, kWriteBackBytes, kFinish) != 0)) {
        const bool failed = errno == EIO || errno == ENOSPC || errno == EDQUOT;
        if (failed) return write_error("writing", path_, errno);
      }
      written_back_ += kWriteBackBytes;
    }
    return ok_status();
  }

  std::string path_;
  Descriptor fd_;
  int64_t size_bytes_ = 0;
  int64_t written_back_ = 0;
};

class PosixMapped : public MappedFile {
 public:
  PosixMapped(void* data, int64_t size_bytes) : data_(data), size_bytes_(size_bytes) {}
  PosixMapped(const PosixMapped&) = delete;
  PosixMapped& operator=(const PosixMapped&) = delete;
  ~PosixMapped() override {
    if (size_bytes_ > 0) ::munmap(data_, static_cast<size_t>(size_bytes_));
  }
  const void* data() const override { return data_; }
  int64_t size_bytes() const override { return size_bytes_; }

 private:
  void* data_;
  int64_t size_bytes_;
};

// Returns the names in the directory that `fd` is open on.
Result<std::vector<std::string>> names_of(int fd, const std::string& path) {
  // Opens a second descriptor: closing the stream closes it, and reading moves its position.
  Descriptor again(::openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (again.get() < 0) return system_error("opening", path, errno);
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(again.get()), ::closedir);
  if (stream == nullptr) return system_error("listing", path, errno);
  (void)again.release();
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = ::readdir(stream.get())) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
    errno = 0;
  }
  if (errno != 0) return system_error("listing", path, errno);
  std::sort(names.begin(), names.end());
  return names;
}

Status remove_below(int fd, const std::string& name, const std::string& path) {
  if (::unlinkat(fd, name.c_str(), 0) == 0 || errno == ENOENT) return ok_status();
  if (errno != EISDIR && errno != EPERM) return write_error("removing", path, errno);
  Descriptor inside(::openat(fd, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (inside.get() < 0) return write_error("removing", path, errno);
  LEASEHOLD_ASSIGN_OR_RETURN(const std::vector<std::string> names, names_of(inside.get(), path));
  for (const std::string& below : names) {
    LEASEHOLD_RETURN_IF_ERROR(remove_below(inside.get(), below, join_path(path, below)));
  }
  return ::unlinkat(fd, name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT
             ? ok_status()
             : write_error("removing", path, errno);
}

class PosixOpenDirectory : public OpenDirectory {
 public:
  PosixOpenDirectory(std::string path, Descriptor fd)
      : path_(std::move(path)), fd_(std::move(fd)) {}
  Result<std::vector<std::string>> list() override { return names_of(fd_.get(), path_); }
  Result<std::string> read(const std::string& name, int64_t limit_bytes) override;
  Status remove(const std::string& name) override {
    return remove_below(fd_.get(), name, join_path(path_, name));
  }
  Status sync() override {
    return ::fsync(fd_.get()) == 0 ? ok_status() : write_error("syncing", path_, errno);
  }
  Status remove_name_if_empty() override {
    if (::rmdir(path_.c_str()) == 0) return ok_status();
    const bool another = errno == ENOENT || errno == ENOTEMPTY || errno == EEXIST;
    return another ? ok_status() : write_error("removing", path_, errno);
  }

 private:
  std::string path_;
  Descriptor fd_;
};

class PosixLog : public LogFile {
 public:
  PosixLog(std::string path, Descriptor fd) : path_(std::move(path)), fd_(std::move(fd)) {}
  Status append_at(int64_t size_bytes, std::string_view bytes) override {
    LEASEHOLD_RETURN_IF_ERROR(expect_size(size_bytes));
    return write_all(fd_.get(), path_, bytes.data(), static_cast<int64_t>(bytes.size()));
  }
  Status cut(int64_t size_bytes, int64_t to_bytes) override {
    LEASEHOLD_RETURN_IF_ERROR(expect_size(size_bytes));
    return ::ftruncate(fd_.get(), to_bytes) == 0 ? ok_status()
                                                 : write_error("truncating", path_, errno);
  }
  Status sync() override {
    return ::fdatasync(fd_.get()) == 0 ? ok_status() : write_error("syncing", path_, errno);
  }

 private:
  Status expect_size(int64_t size_bytes) const {
    struct stat now {};
    if (::fstat(fd_.get(), &now) != 0) return write_error("looking at", path_, errno);
    if (now.st_size == size_bytes) return ok_status();
    return error(Code::kBadConfig, "{} has {} bytes where {} are expected", path_, now.st_size,
                 size_bytes);
  }

  std::string path_;
  Descriptor fd_;
};

Result<std::string> PosixOpenDirectory::read(const std::string& name, int64_t limit_bytes) {
  const std::string path = join_path(path_, name);
  int64_t size_bytes = 0;
  LEASEHOLD_ASSIGN_OR_RETURN(Descriptor fd,
                             open_regular(fd_.get(), name, path, false, &size_bytes));
  PosixReadable file(path, std::move(fd), size_bytes);
  return read_whole(file, path, limit_bytes);
}

}  // namespace

std::unique_ptr<ReadableFile> posix_readable(const std::string& path, Descriptor fd,
                                             int64_t size_bytes) {
  return std::make_unique<PosixReadable>(path, std::move(fd), size_bytes);
}

std::unique_ptr<WritableFile> posix_writable(const std::string& path, Descriptor fd) {
  return std::make_unique<PosixWritable>(path, std::move(fd));
}

std::unique_ptr<OpenDirectory> posix_directory(const std::string& path, Descriptor fd) {
  return std::make_unique<PosixOpenDirectory>(path, std::move(fd));
}

std::unique_ptr<LogFile> posix_log(const std::string& path, Descriptor fd) {
  return std::make_unique<PosixLog>(path, std::move(fd));
}

std::unique_ptr<MappedFile> posix_mapped(void* data, int64_t size_bytes) {
  return std::make_unique<PosixMapped>(data, size_bytes);
}

}  // namespace leasehold
