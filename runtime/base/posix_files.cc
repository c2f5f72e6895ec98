// Implements FileSystem by POSIX calls.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <system_error>
#include <time.h>
#include <unistd.h>

#include "runtime/base/files.h"
#include "runtime/base/posix_open_files.h"

namespace leasehold {

namespace {

// Returns false if the file system has no locks, or if another writer does not release its lock.
bool lock_for_append(int fd) {
  constexpr int kTries = 1000;
  constexpr timespec kPause{.tv_sec = 0, .tv_nsec = 1'000'000};
  for (int i = 0; i < kTries; ++i) {
    struct flock whole {};
    whole.l_type = F_WRLCK;
    whole.l_whence = SEEK_SET;
    if (::fcntl(fd, F_OFD_SETLK, &whole) == 0) return true;
    if (errno != EAGAIN && errno != EACCES) return false;
    ::nanosleep(&kPause, nullptr);
  }
  return false;
}

class PosixLock : public FileLock {
 public:
  explicit PosixLock(Descriptor fd) : fd_(std::move(fd)) {}

 private:
  Descriptor fd_;
};

Status lock_error(const std::string& path, int number) {
  if (!is_missing_call(number) && number != ENOLCK) return write_error("locking", path, number);
  return error(Code::kStorage,
               "locking {}: this file system has no locks ({}), which keep two supervisors out of "
               "one run.dir: mount it with them (Lustre: -o flock; NFS: without nolock), or choose "
               "a run.dir on another file system",
               path, std::strerror(number));
}

class PosixFiles : public FileSystem {
 public:
  explicit PosixFiles(bool is_private) : is_private_(is_private) {}

  Result<std::unique_ptr<ReadableFile>> open(const std::string& path) override {
    int64_t size_bytes = 0;
    LEASEHOLD_ASSIGN_OR_RETURN(Descriptor fd, open_regular(path, is_private_, &size_bytes));
    return posix_readable(path, std::move(fd), size_bytes);
  }

  Result<std::unique_ptr<MappedFile>> map(const std::string& path) override {
    int64_t size_bytes = 0;
    LEASEHOLD_ASSIGN_OR_RETURN(Descriptor fd, open_regular(path, is_private_, &size_bytes));
    void* data = nullptr;
    if (size_bytes > 0) {
      data = ::mmap(nullptr, static_cast<size_t>(size_bytes), PROT_READ, MAP_SHARED, fd.get(), 0);
      if (data == MAP_FAILED) return system_error("mapping", path, errno);
    }
    return posix_mapped(data, size_bytes);
  }

  Result<std::unique_ptr<WritableFile>> create(const std::string& path) override {
    const int flags = is_private_ ? O_EXCL | O_NOFOLLOW : O_TRUNC;
    Descriptor fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | flags, mode()));
    if (fd.get() < 0) return write_error("creating", path, errno);
    return posix_writable(path, std::move(fd));
  }

  // Links a complete temporary file, which is atomic. O_EXCL followed by a write would show an
  // empty file for a moment.
  Status create_exclusive(const std::string& path, std::string_view content) override {
    std::string temporary;
    Descriptor fd = create_temporary(path, mode(), &temporary);
    if (fd.get() < 0) return write_error("creating", path, errno);
    Status status =
        write_all(fd.get(), temporary, content.data(), static_cast<int64_t>(content.size()));
    if (status.ok() && ::fsync(fd.get()) != 0) status = write_error("syncing", temporary, errno);
    if (status.ok()) status = name_exclusively(fd.get(), temporary, path);
    ::unlink(temporary.c_str());
    LEASEHOLD_RETURN_IF_ERROR(status);
    return sync_directory(parent_path(path));
  }

  Status append_line(const std::string& path, std::string_view line) override {
    Descriptor fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, kFileMode));
    if (fd.get() < 0) return write_error("opening", path, errno);
    // Closing the file releases the lock. An NFS client asks for the size anew once it has the
    // lock.
    const bool locked = lock_for_append(fd.get());
    struct stat before {};
    const bool known = locked && ::fstat(fd.get(), &before) == 0;
    const Status written =
        write_all(fd.get(), path, line.data(), static_cast<int64_t>(line.size()));
    if (written.ok() || !known) return written;
    return ::ftruncate(fd.get(), before.st_size) == 0
               ? written
               : written.annotated("and what was written of it stays");
  }

  Result<std::unique_ptr<LogFile>> open_log(const std::string& path) override {
    Descriptor fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, kFileMode));
    if (fd.get() < 0) return write_error("opening", path, errno);
    return posix_log(path, std::move(fd));
  }

  Status rename(const std::string& from, const std::string& to) override {
    if (::rename(from.c_str(), to.c_str()) == 0) return ok_status();
    if (errno == ENOTEMPTY || errno == EEXIST) {
      return error(Code::kBadConfig, "renaming {}: {} exists already", from, to);
    }
    return write_error("renaming " + from + " to", to, errno);
  }

  Status sync_directory(const std::string& path) override {
    Descriptor fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (fd.get() < 0) return write_error("opening", path, errno);
    return ::fsync(fd.get()) == 0 ? ok_status() : write_error("syncing", path, errno);
  }

  Status make_directories(const std::string& path) override {
    std::error_code code;
    std::filesystem::create_directories(path, code);
    return code ? error(Code::kStorage, "creating directory {}: {}", path, code.message())
                : ok_status();
  }

  Status remove_all(const std::string& path) override {
    std::error_code code;
    std::filesystem::remove_all(path, code);
    return code ? error(Code::kStorage, "removing {}: {}", path, code.message()) : ok_status();
  }

  bool exists(const std::string& path) override { return ::access(path.c_str(), F_OK) == 0; }

  Result<std::vector<std::string>> list(const std::string& path) override {
    std::error_code code;
    std::vector<std::string> names;
    for (std::filesystem::directory_iterator it(path, code), end; !code && it != end;
         it.increment(code)) {
      names.push_back(it->path().filename().string());
    }
    if (code) return system_error("listing", path, code.value());
    std::sort(names.begin(), names.end());
    return names;
  }

  Result<std::unique_ptr<OpenDirectory>> open_directory(const std::string& path) override {
    Descriptor fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (fd.get() < 0) return system_error("opening", path, errno);
    return posix_directory(path, std::move(fd));
  }

  Result<std::unique_ptr<FileLock>> lock(const std::string& path, std::string_view owner) override {
    Descriptor fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, kFileMode));
    if (fd.get() < 0) return write_error("opening", path, errno);
    if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno != EWOULDBLOCK) return lock_error(path, errno);
      char text[512];
      const ssize_t got = ::pread(fd.get(), text, sizeof text, 0);
      return error(Code::kBadConfig, "{} is held by {}", path,
                   got > 0 ? std::string(text, static_cast<size_t>(got)) : "another process");
    }
    struct stat locked {}, present {};
    const bool was_removed = ::fstat(fd.get(), &locked) == 0 &&
                             (::stat(path.c_str(), &present) != 0 ||
                              present.st_ino != locked.st_ino || present.st_dev != locked.st_dev);
    if (was_removed) return lock(path, owner);
    if (::ftruncate(fd.get(), 0) != 0) return write_error("writing", path, errno);
    LEASEHOLD_RETURN_IF_ERROR(
        write_all(fd.get(), path, owner.data(), static_cast<int64_t>(owner.size())));
    return std::unique_ptr<FileLock>(new PosixLock(std::move(fd)));
  }

 private:
  mode_t mode() const { return is_private_ ? 0600 : kFileMode; }

  bool is_private_;
};

}  // namespace

FileSystem& posix_files() {
  static PosixFiles files(false);
  return files;
}

FileSystem& private_files() {
  static PosixFiles files(true);
  return files;
}

}  // namespace leasehold
