#include "runtime/data/parquet_input.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/data/input_spool.h"

namespace leasehold {

namespace {

constexpr const char* kPythonVariable = "LEASEHOLD_PYTHON";
constexpr int kNoPyarrow = 69;
constexpr int kNoProgram = 127;
constexpr int kWaitMs = 10;
constexpr int kPatienceMs = 10'000;

constexpr const char* kScript = R"(
import json, sys
path, field = sys.argv[1:]
try:
    import pyarrow.parquet as parquet
except ImportError:
    sys.exit(69)
try:
    file = parquet.ParquetFile(path)
    names = file.schema_arrow.names
    column = field if field in names else field.split(".")[0]
    if column not in names:
        sys.exit("no column '%s': it has %s" % (column, ", ".join(names)))
    for batch in file.iter_batches(batch_size=256, columns=[column]):
        for value in batch.column(0).to_pylist():
            sys.stdout.write(json.dumps({column: value}, default=str) + "\n")
    sys.stdout.flush()
except Exception as problem:
    sys.exit(" ".join(str(problem).split()) or type(problem).__name__)
)";

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() { close(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int fd() const { return fd_; }
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

 private:
  int fd_;
};

// Waits until the helper has ended and returns its exit code. Kills a helper that is still running
// some seconds after its last row.
int wait_for(pid_t helper) {
  int status = 0;
  for (int waited_ms = 0; ::waitpid(helper, &status, WNOHANG) != helper; waited_ms += kWaitMs) {
    if (waited_ms >= kPatienceMs) ::kill(helper, SIGKILL);
    ::poll(nullptr, 0, kWaitMs);
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// Returns the last line of a file in memory.
std::string last_line(int fd) {
  std::array<char, 4096> block;
  const off_t size = ::lseek(fd, 0, SEEK_END);
  const off_t begin = std::max<off_t>(0, size - static_cast<off_t>(block.size()));
  const ssize_t got = ::pread(fd, block.data(), block.size(), begin);
  std::string words(block.data(), static_cast<size_t>(std::max<ssize_t>(0, got)));
  while (!words.empty() && words.back() == '\n') words.pop_back();
  return words.substr(words.rfind('\n') + 1);
}

Status explain(int exit_code, const std::string& words, const std::string& path,
               const std::string& python) {
  if (exit_code == 0) return ok_status();
  if (exit_code == kNoPyarrow || exit_code == kNoProgram) {
    return error(Code::kUnavailable,
                 "input {} is a Parquet file, which is read by pyarrow, and {} {}: install it with "
                 "python3 -m venv ~/leasehold-python && "
                 "~/leasehold-python/bin/pip install pyarrow && export "
                 "{}=~/leasehold-python/bin/python",
                 path, python, exit_code == kNoPyarrow ? "does not have it" : "does not start",
                 kPythonVariable);
  }
  return error(Code::kBadData, "input {}: {}", path,
               words.empty() ? fmt::format("{} ended with {}", python, exit_code) : words);
}

}  // namespace

Status parquet_to_json_lines(FileSystem& files, const std::string& path, const std::string& field,
                             const std::string& to, const std::function<Status()>& keep_waiting) {
  const char* chosen = std::getenv(kPythonVariable);
  const std::string python = chosen != nullptr && *chosen != '\0' ? chosen : "python3";
  std::array<int, 2> ends = {-1, -1};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0)
    return error(Code::kStorage, "no pipe to {}: {}", python, std::strerror(errno));
  const Descriptor rows(ends[0]);
  Descriptor rows_end(ends[1]);
  // Not a pipe, so that the helper never blocks until its warnings are read.
  const Descriptor words(::memfd_create("words", MFD_CLOEXEC));
  if (words.fd() < 0)
    return error(Code::kStorage, "no memory for words of {}: {}", python, std::strerror(errno));
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, rows_end.fd(), STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, words.fd(), STDERR_FILENO);
  std::array<std::string, 5> arguments = {python, "-c", kScript, path, field};
  std::array<char*, 6> argv{};
  for (size_t i = 0; i < arguments.size(); ++i) argv[i] = arguments[i].data();
  pid_t helper = 0;
  const int problem =
      ::posix_spawnp(&helper, python.c_str(), &actions, nullptr, argv.data(), ::environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (problem != 0) return explain(kNoProgram, "", path, python);
  rows_end.close();
  const Status copied = copy_descriptor(files, rows.fd(), path, to, keep_waiting);
  if (!copied.ok()) ::kill(helper, SIGKILL);
  const int exit_code = wait_for(helper);
  return copied.ok() ? explain(exit_code, last_line(words.fd()), path, python) : copied;
}

}  // namespace leasehold
