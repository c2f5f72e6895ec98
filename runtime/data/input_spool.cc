#include "runtime/data/input_spool.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

namespace leasehold {

namespace {

constexpr int kPollMs = 200;
constexpr size_t kSpoolBytes = 1 << 20;

class StreamDescriptor {
 public:
  // The other end of a named pipe may not be open yet. Without O_NONBLOCK, open() would wait for it
  // and could not be ended.
  explicit StreamDescriptor(const std::string& path)
      : fd_(path == "-" ? ::dup(STDIN_FILENO)
                        : ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {}
  ~StreamDescriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  StreamDescriptor(const StreamDescriptor&) = delete;
  StreamDescriptor& operator=(const StreamDescriptor&) = delete;
  int fd() const { return fd_; }

 private:
  int fd_;
};

Status unreadable(const std::string& name) {
  return error(Code::kMissingInput, "input {} cannot be read: {}", name, std::strerror(errno));
}

}  // namespace

bool is_stream_path(const std::string& path) {
  if (path == "-") return true;
  struct ::stat status {};
  return ::stat(path.c_str(), &status) == 0 &&
         (S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode) || S_ISSOCK(status.st_mode));
}

std::string stream_name(const std::string& path) { return path == "-" ? "standard input" : path; }

Status spool_stream(FileSystem& files, const std::string& path, const std::string& to,
                    const std::function<Status()>& keep_waiting) {
  const StreamDescriptor from(path);
  if (from.fd() < 0) return unreadable(stream_name(path));
  return copy_descriptor(files, from.fd(), stream_name(path), to, keep_waiting);
}

Status copy_descriptor(FileSystem& files, int fd, const std::string& name, const std::string& to,
                       const std::function<Status()>& keep_waiting) {
  LEASEHOLD_ASSIGN_OR_RETURN(const auto file, files.create(to));
  std::vector<char> block(kSpoolBytes);
  while (true) {
    LEASEHOLD_RETURN_IF_ERROR(keep_waiting());
    ::pollfd waited{fd, POLLIN, 0};
    const int ready = ::poll(&waited, 1, kPollMs);
    if (ready == 0 || (ready < 0 && errno == EINTR)) continue;
    if (ready < 0) return unreadable(name);
    const ssize_t got = ::read(fd, block.data(), block.size());
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got < 0) return unreadable(name);
    if (got == 0) return file->close();
    LEASEHOLD_RETURN_IF_ERROR(file->append(block.data(), got));
  }
}

}  // namespace leasehold
