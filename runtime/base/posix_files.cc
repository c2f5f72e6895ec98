// Implements FileSystem by POSIX calls.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <filesystem>
#include <random>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <system_error>
#include <time.h>
#include <unistd.h>

#include "runtime/base/check.h"
#include "runtime/base/files.h"

namespace leasehold {

namespace {

constexpr mode_t kFileMode = 0666;  // before the umask

Status system_error(const std::string& what, const std::string& path, int number) {
  const Code code = number == ENOENT || number == ENOTDIR ? Code::kMissingInput : Code::kStorage;
  return error(code, "{} {}: {}", what, path, std::strerror(number));
}

// Turns a failed write into kStorage: a missing directory is not a missing input there.
Status write_error(const std::string& what, const std::string& path, int number) {
  return error(Code::kStorage, "{} {}: {}", what, path, std::strerror(number));
}

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

Status write_all(int fd, const std::string& path, const void* data, int64_t size_bytes) {
  const char* bytes = static_cast<const char*>(data);
  while (size_bytes > 0) {
    const ssize_t written =
        ::write(fd, bytes, static_cast<size_t>(std::min<int64_t>(size_bytes, 1 << 30)));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return write_error("writing", path, errno);
    bytes += written;
    size_bytes -= written;
  }
  return ok_status();
}

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

// Returns true if the link exists although link() failed. Over NFS a link whose reply was lost is
// retried, and the retry fails. The number of names tells.
bool has_two_names(int fd) {
  const int link_error = errno;
  struct stat info {};
  const bool two = ::fstat(fd, &info) == 0 && info.st_nlink == 2;
  errno = link_error;
  return two;
}

// Returns true if the file system lacks the call: the next try would fail too.
bool is_missing_call(int number) {
  return number == EPERM || number == ENOSYS || number == ENOTSUP || number == EINVAL;
}

// Gives a file its name unless the name is taken. Without hard links it uses a rename that replaces
// nothing, which file systems of a single machine have (FAT, many FUSE).
Status name_exclusively(int fd, const std::string& temporary, const std::string& path) {
  if (::link(temporary.c_str(), path.c_str()) == 0 || has_two_names(fd)) return ok_status();
  if (is_missing_call(errno) &&
      ::renameat2(AT_FDCWD, temporary.c_str(), AT_FDCWD, path.c_str(), RENAME_NOREPLACE) == 0) {
    return ok_status();
  }
  if (errno == EEXIST) return error(Code::kBadConfig, "{} exists already", path);
  if (!is_missing_call(errno)) return write_error("creating", path, errno);
  return error(Code::kStorage,
               "creating {}: this file system has neither hard links nor a rename that replaces "
               "nothing ({}), by which one of two writers claims a name: choose a directory on "
               "another file system",
               path, std::strerror(errno));
}

Status lock_error(const std::string& path, int number) {
  if (!is_missing_call(number) && number != ENOLCK) return write_error("locking", path, number);
  return error(Code::kStorage,
               "locking {}: this file system has no locks ({}), which keep two supervisors out of "
               "one run.dir: mount it with them (Lustre: -o flock; NFS: without nolock), or choose "
               "a run.dir on another file system",
               path, std::strerror(number));
}

// Creates a new file next to `path`, with `mode` less the umask: mkstemp(3) would create one for
// its owner alone. Returns a descriptor below 0 and sets errno on failure.
Descriptor create_temporary(const std::string& path, mode_t mode, std::string* temporary) {
  constexpr int kTries = 100;
  std::random_device random;
  for (int i = 0; i < kTries; ++i) {
    *temporary = fmt::format("{}.{:08x}", path, random());
    Descriptor fd(::open(temporary->c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
    if (fd.get() >= 0 || errno != EEXIST) return fd;
  }
  return Descriptor(-1);
}

// Fails with the reason why an open file does not belong to this user alone.
Status check_private(const struct stat& info, const std::string& path) {
  constexpr mode_t kOthers = 0077;
  if (!S_ISREG(info.st_mode)) return error(Code::kBadData, "{}: not a regular file", path);
  if (info.st_uid != ::geteuid()) {
    return error(Code::kBadData, "{}: belongs to user {}, and this program runs as user {}", path,
                 info.st_uid, ::geteuid());
  }
  if (info.st_nlink != 1) {
    return error(Code::kBadData, "{}: has {} names (hard links), 1 is expected", path,
                 info.st_nlink);
  }
  if ((info.st_mode & kOthers) != 0) {
    return error(Code::kBadData, "{}: its mode {:o} lets others open it, 600 is expected", path,
                 info.st_mode & 07777);
  }
  return ok_status();
}

Result<Descriptor> open_regular(int directory, const std::string& name, const std::string& path,
                                bool is_private, int64_t* size_bytes) {
  // O_NONBLOCK: opening a pipe without a writer must not block. It has no effect on a regular file.
  const int links = is_private ? O_NOFOLLOW : 0;
  Descriptor fd(::openat(directory, name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | links));
  if (fd.get() < 0 && errno == ELOOP && is_private)
    return error(Code::kBadData, "{}: a symbolic link", path);
  if (fd.get() < 0 && errno == EACCES && is_private)
    return error(Code::kBadData, "{}: may not be opened: another user's", path);
  if (fd.get() < 0) return system_error("opening", path, errno);
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return system_error("looking at", path, errno);
  if (is_private) LEASEHOLD_RETURN_IF_ERROR(check_private(info, path));
  if (!S_ISREG(info.st_mode)) return error(Code::kStorage, "opening {}: not a regular file", path);
  *size_bytes = info.st_size;
  return fd;
}

Result<Descriptor> open_regular(const std::string& path, bool is_private, int64_t* size_bytes) {
  return open_regular(AT_FDCWD, path, path, is_private, size_bytes);
}

Result<std::string> PosixOpenDirectory::read(const std::string& name, int64_t limit_bytes) {
  const std::string path = join_path(path_, name);
  int64_t size_bytes = 0;
  LEASEHOLD_ASSIGN_OR_RETURN(Descriptor fd,
                             open_regular(fd_.get(), name, path, false, &size_bytes));
  PosixReadable file(path, std::move(fd), size_bytes);
  return read_whole(file, path, limit_bytes);
}

class PosixFiles : public FileSystem {
 public:
  explicit PosixFiles(bool is_private) : is_private_(is_private) {}

  Result<std::unique_ptr<ReadableFile>> open(const std::string& path) override {
    int64_t size_bytes = 0;
    LEASEHOLD_ASSIGN_OR_RETURN(Descriptor fd, open_regular(path, is_private_, &size_bytes));
    return std::unique_ptr<ReadableFile>(new PosixReadable(path, std::move(fd), size_bytes));
  }

  Result<std::unique_ptr<MappedFile>> map(const std::string& path) override {
    int64_t size_bytes = 0;
    LEASEHOLD_ASSIGN_OR_RETURN(Descriptor fd, open_regular(path, is_private_, &size_bytes));
    void* data = nullptr;
    if (size_bytes > 0) {
      data = ::mmap(nullptr, static_cast<size_t>(size_bytes), PROT_READ, MAP_SHARED, fd.get(), 0);
      if (data == MAP_FAILED) return system_error("mapping", path, errno);
    }
    return std::unique_ptr<MappedFile>(new PosixMapped(data, size_bytes));
  }

  Result<std::unique_ptr<WritableFile>> create(const std::string& path) override {
    const int flags = is_private_ ? O_EXCL | O_NOFOLLOW : O_TRUNC;
    Descriptor fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | flags, mode()));
    if (fd.get() < 0) return write_error("creating", path, errno);
    return std::unique_ptr<WritableFile>(new PosixWritable(path, std::move(fd)));
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
    return std::unique_ptr<LogFile>(new PosixLog(path, std::move(fd)));
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
    return std::unique_ptr<OpenDirectory>(new PosixOpenDirectory(path, std::move(fd)));
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
