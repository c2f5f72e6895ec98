#include "launch/supervisor/child_process.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/base/clock.h"

extern char** environ;

namespace leasehold {

namespace {

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

// This process's variables, those that are given in place of their namesakes.
std::vector<std::string> variables(
    const std::vector<std::pair<std::string, std::string>>& environment) {
  std::vector<std::string> texts;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    bool replaced = false;
    for (const auto& [name, value] : environment) {
      replaced = replaced || std::string_view(*entry).starts_with(name + "=");
    }
    if (!replaced) texts.emplace_back(*entry);
  }
  for (const auto& [name, value] : environment) texts.push_back(fmt::format("{}={}", name, value));
  return texts;
}

// 0, or errno.
int spawn(pid_t& pid, std::vector<std::string> arguments, std::vector<std::string> environment,
          int output) {
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_t actions;
  posix_spawnattr_init(&attributes);
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO);
  const std::vector<char*> argument_pointers = pointers_to(arguments);
  const std::vector<char*> variable_pointers = pointers_to(environment);
  const int problem = ::posix_spawnp(&pid, argument_pointers[0], &actions, &attributes,
                                     argument_pointers.data(), variable_pointers.data());
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  return problem;
}

class SpawnedProcess : public ChildProcess {
 public:
  SpawnedProcess(pid_t pid, int output, double deadline_s)
      : pid_(pid), output_(output), deadline_(Deadline::after_s(deadline_s)) {}
  SpawnedProcess(const SpawnedProcess&) = delete;
  SpawnedProcess& operator=(const SpawnedProcess&) = delete;
  ~SpawnedProcess() override {
    if (!over_) kill_and_reap();
    ::close(output_);
  }

  std::optional<ChildOutcome> poll() override {
    read_output();
    int status = 0;
    const bool ended = !over_ && ::waitpid(pid_, &status, WNOHANG) == pid_;
    if (ended) {
      over_ = true;
      read_output();
      const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      return ChildOutcome{code, std::move(text_)};
    }
    if (over_ || !deadline_.passed()) return std::nullopt;
    kill_and_reap();
    return ChildOutcome{std::nullopt, std::move(text_)};
  }

 private:
  void kill_and_reap() {
    ::kill(-pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    over_ = true;
  }

  void read_output() {
    std::array<char, 65536> part;
    for (;;) {
      const ssize_t got = ::read(output_, part.data(), part.size());
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) return;
      const size_t kept = std::min(static_cast<size_t>(got), kMaxOutputBytes - text_.size());
      text_.append(part.data(), kept);
    }
  }

  pid_t pid_;
  int output_;
  Deadline deadline_;
  std::string text_;
  bool over_ = false;
};

}  // namespace

Result<std::unique_ptr<ChildProcess>> ChildProcess::start(
    std::vector<std::string> arguments,
    const std::vector<std::pair<std::string, std::string>>& environment, double deadline_s) {
  std::array<int, 2> pipe{};
  if (::pipe2(pipe.data(), O_CLOEXEC) != 0) {
    return error(Code::kInternal, "pipe2: {}", std::strerror(errno));
  }
  ::fcntl(pipe[0], F_SETFL, O_NONBLOCK);
  const std::string program = arguments.front();
  pid_t pid = 0;
  const int problem = spawn(pid, std::move(arguments), variables(environment), pipe[1]);
  ::close(pipe[1]);
  if (problem != 0) {
    ::close(pipe[0]);
    return error(Code::kMissingInput, "{}: {}", program, std::strerror(problem));
  }
  return std::unique_ptr<ChildProcess>(std::make_unique<SpawnedProcess>(pid, pipe[0], deadline_s));
}

}  // namespace leasehold
