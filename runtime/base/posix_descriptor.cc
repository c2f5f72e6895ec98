#include "runtime/base/posix_descriptor.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <random>
#include <sys/stat.h>

namespace leasehold {

namespace {

// Returns true if the link exists although link() failed. Over NFS a link whose reply was lost is
// retried, and the retry fails. The number of names tells.
bool has_two_names(int fd) {
  const int link_error = errno;
  struct stat info {};
  const bool two = ::fstat(fd, &info) == 0 && info.st_nlink == 2;
  errno = link_error;
  return two;
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

}  // namespace

Status system_error(const std::string& what, const std::string& path, int number) {
  const Code code = number == ENOENT || number == ENOTDIR ? Code::kMissingInput : Code::kStorage;
  return error(code, "{} {}: {}", what, path, std::strerror(number));
}

Status write_error(const std::string& what, const std::string& path, int number) {
  return error(Code::kStorage, "{} {}: {}", what, path, std::strerror(number));
}

bool is_missing_call(int number) {
  return number == EPERM || number == ENOSYS || number == ENOTSUP || number == EINVAL;
}

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

}  // namespace leasehold
