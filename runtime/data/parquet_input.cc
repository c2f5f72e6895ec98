#include "runtime/data/parquet_input.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/data/input_spool.h"

namespace leasehold {

namespace {

constexpr const char* kPythonVariable = "LEASEHOLD_PYTHON";
constexpr int kNoPyarrow = 69;
constexpr int kNoProgram = 127;

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

struct Pipe {
  int from = -1, to = -1;

  Pipe() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) return;
    from = ends[0];
    to = ends[1];
  }
  ~Pipe() {
    ::close(from);
    close_writer();
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  void close_writer() {
    if (to >= 0) ::close(to);
    to = -1;
  }
};

// The helper's end, so that none stays behind.
int wait_for(pid_t helper) {
  int status = 0;
  while (::waitpid(helper, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

std::string read_words(int fd) {
  std::string words;
  std::array<char, 4096> block;
  for (ssize_t got; (got = ::read(fd, block.data(), block.size())) > 0;)
    words.append(block.data(), static_cast<size_t>(got));
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
  Pipe lines, words;
  if (lines.from < 0 || words.from < 0)
    return error(Code::kStorage, "no pipe to {}: {}", python, std::strerror(errno));
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, lines.to, STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, words.to, STDERR_FILENO);
  std::array<std::string, 5> arguments = {python, "-c", kScript, path, field};
  std::array<char*, 6> argv{};
  for (size_t i = 0; i < arguments.size(); ++i) argv[i] = arguments[i].data();
  pid_t helper = 0;
  const int problem =
      ::posix_spawnp(&helper, python.c_str(), &actions, nullptr, argv.data(), ::environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (problem != 0) return explain(kNoProgram, "", path, python);
  lines.close_writer();
  words.close_writer();
  const Status copied = copy_descriptor(files, lines.from, path, to, keep_waiting);
  if (!copied.ok()) ::kill(helper, SIGKILL);
  const std::string last_words = copied.ok() ? read_words(words.from) : "";
  const int exit_code = wait_for(helper);
  return copied.ok() ? explain(exit_code, last_words, path, python) : copied;
}

}  // namespace leasehold
