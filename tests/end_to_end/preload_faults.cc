// Stands between the programs of a run and the C library: a wall clock that steps, a disk that is
// slow or full, a link that is slow, a node without its data (injected_faults.h).
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "tests/end_to_end/injected_faults.h"

namespace {

using leasehold::InjectedFaults;

// Nothing is injected where the variable names no file.
InjectedFaults* open_faults() {
  static InjectedFaults none;
  const char* path = ::getenv(leasehold::kInjectedFaults);
  if (path == nullptr) return &none;
  static const auto real_open =
      reinterpret_cast<int (*)(const char*, int, ...)>(::dlsym(RTLD_NEXT, "open"));
  const int file = real_open(path, O_RDWR | O_CLOEXEC);
  if (file < 0) return &none;
  void* shared =
      ::mmap(nullptr, sizeof(InjectedFaults), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  ::close(file);
  return shared == MAP_FAILED ? &none : static_cast<InjectedFaults*>(shared);
}

InjectedFaults& faults() {
  static InjectedFaults* const of_process = open_faults();
  return *of_process;
}

template <typename Function>
Function next(const char* name) {
  return reinterpret_cast<Function>(::dlsym(RTLD_NEXT, name));
}

void sleep_us(int64_t us) {
  timespec rest = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
  while (::nanosleep(&rest, &rest) != 0 && errno == EINTR) {
  }
}

bool disk_is_full(int file) {
  if (!faults().disk_is_full) return false;
  struct stat info {};
  if (::fstat(file, &info) != 0 || !S_ISREG(info.st_mode)) return false;
  char link[64], path[4096];
  ::snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  const ssize_t length = ::readlink(link, path, sizeof path - 1);
  if (length <= 0) return false;
  path[length] = '\0';
  return ::strstr(path, faults().disk) != nullptr;
}

void delay_message(int file) {
  const int64_t delay_us = faults().send_delay_us;
  struct stat info {};
  if (delay_us > 0 && ::fstat(file, &info) == 0 && S_ISSOCK(info.st_mode)) sleep_us(delay_us);
}

bool is_missing(const char* path) {
  if (!faults().node_is_broken) return false;
  const char* node = ::getenv("LEASEHOLD_NODE");
  const size_t length = ::strlen(path);
  return node != nullptr && ::strcmp(node, faults().node) == 0 && length > 4 &&
         ::strcmp(path + length - 4, ".bin") == 0;
}

}  // namespace

extern "C" {

int clock_gettime(clockid_t clock, timespec* time) {
  static const auto real = next<int (*)(clockid_t, timespec*)>("clock_gettime");
  const int result = real(clock, time);
  const int64_t step_ms = faults().clock_step_ms;
  if (result != 0 || clock != CLOCK_REALTIME || step_ms == 0) return result;
  const int64_t ns = time->tv_nsec + (step_ms % 1000) * 1000000;
  const int64_t carry = ns >= 1000000000 ? 1 : ns < 0 ? -1 : 0;
  time->tv_nsec = ns - carry * 1000000000;
  time->tv_sec += step_ms / 1000 + carry;
  return result;
}

int fsync(int file) {
  static const auto real = next<int (*)(int)>("fsync");
  sleep_us(1000 * faults().sync_delay_ms);
  return real(file);
}

int fdatasync(int file) {
  static const auto real = next<int (*)(int)>("fdatasync");
  sleep_us(1000 * faults().sync_delay_ms);
  return real(file);
}

ssize_t write(int file, const void* data, size_t size) {
  static const auto real = next<ssize_t (*)(int, const void*, size_t)>("write");
  if (!disk_is_full(file)) return real(file, data, size);
  errno = ENOSPC;
  return -1;
}

ssize_t pwrite(int file, const void* data, size_t size, off_t offset) {
  static const auto real = next<ssize_t (*)(int, const void*, size_t, off_t)>("pwrite");
  if (!disk_is_full(file)) return real(file, data, size, offset);
  errno = ENOSPC;
  return -1;
}
ssize_t pwrite64(int file, const void* data, size_t size, off_t offset) {
  return pwrite(file, data, size, offset);
}

ssize_t writev(int file, const iovec* parts, int count) {
  static const auto real = next<ssize_t (*)(int, const iovec*, int)>("writev");
  delay_message(file);
  if (!disk_is_full(file)) return real(file, parts, count);
  errno = ENOSPC;
  return -1;
}

int open(const char* path, int flags, ...) {
  static const auto real = next<int (*)(const char*, int, ...)>("open");
  mode_t mode = 0;
  if ((flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE) {
    va_list more;
    va_start(more, flags);
    mode = va_arg(more, mode_t);
    va_end(more);
  }
  if (!is_missing(path)) return real(path, flags, mode);
  errno = ENOENT;
  return -1;
}

}  // extern "C"
