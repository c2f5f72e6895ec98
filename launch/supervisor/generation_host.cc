#include "launch/supervisor/generation_host.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <map>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launch/supervisor/keeper.h"
#include "launch/supervisor/process_identity.h"
#include "runtime/base/clock.h"

extern char** environ;

namespace leasehold {

namespace {

constexpr int64_t kMaxSmallFileBytes = 64 << 10;
constexpr int64_t kTailBytes = 64 << 10;
constexpr double kKeeperStartS = 10;  // from its start to keeper.json

// `environ` with the values of `added` instead of its own.
std::vector<std::string> make_environment(
    const std::vector<std::pair<std::string, std::string>>& added) {
  std::vector<std::string> all;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string_view text = *variable;
    const std::string_view name = text.substr(0, text.find('='));
    if (std::ranges::none_of(added, [&](const auto& pair) { return pair.first == name; })) {
      all.emplace_back(text);
    }
  }
  for (const auto& [name, value] : added) all.push_back(fmt::format("{}={}", name, value));
  return all;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (std::string& text : texts) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

class SpawnAttributes {
 public:
  explicit SpawnAttributes(const std::string& errors) {
    posix_spawnattr_init(&attributes_);
    posix_spawn_file_actions_init(&actions_);
    posix_spawnattr_setflags(&attributes_,
                             POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attributes_, &none);
    sigset_t ignored;  // by the supervisor
    sigemptyset(&ignored);
    for (const int number : {SIGHUP, SIGPIPE, SIGXFSZ}) sigaddset(&ignored, number);
    posix_spawnattr_setsigdefault(&attributes_, &ignored);
    posix_spawn_file_actions_addopen(&actions_, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions_, STDOUT_FILENO, errors.c_str(),
                                     O_WRONLY | O_CREAT | O_APPEND, 0666);
    posix_spawn_file_actions_adddup2(&actions_, STDOUT_FILENO, STDERR_FILENO);
  }
  ~SpawnAttributes() {
    posix_spawnattr_destroy(&attributes_);
    posix_spawn_file_actions_destroy(&actions_);
  }
  SpawnAttributes(const SpawnAttributes&) = delete;
  SpawnAttributes& operator=(const SpawnAttributes&) = delete;

  const posix_spawnattr_t* attributes() const { return &attributes_; }
  const posix_spawn_file_actions_t* actions() const { return &actions_; }

 private:
  posix_spawnattr_t attributes_;
  posix_spawn_file_actions_t actions_;
};

class ProcessHost : public GenerationHost {
 public:
  ProcessHost(FileSystem& files, std::string program)
      : files_(files), program_(std::move(program)) {}

  Status start(const std::string& directory, const GenerationCommand& command) override {
    std::vector<std::string> arguments = {program_, "keeper", directory, "--"};
    arguments.insert(arguments.end(), command.arguments.begin(), command.arguments.end());
    std::vector<std::string> environment = make_environment(command.environment);
    const SpawnAttributes spawn(output_path(directory));
    pid_t pid = 0;
    const int problem = ::posix_spawn(&pid, program_.c_str(), spawn.actions(), spawn.attributes(),
                                      pointers(arguments).data(), pointers(environment).data());
    if (problem != 0) {
      return error(Code::kInternal, "starting {}: {}", program_, std::strerror(problem));
    }
    children_.push_back(pid);
    starting_.insert_or_assign(directory, Starting{pid, Deadline::after_s(kKeeperStartS)});
    return ok_status();
  }

  Status adopt(const std::string& directory) override {
    LEASEHOLD_RETURN_IF_ERROR(files_.make_directories(directory));
    const Status taken = files_.create_exclusive(keeper_path(directory), encode_identity({}));
    return taken.code() == Code::kBadConfig ? ok_status() : taken;
  }

  Result<GenerationLook> look(const std::string& directory) override {
    reap();
    GenerationLook look;
    // In this order: a keeper that is dead has written its outcome, or never will.
    look.keeper_alive = keeper_is_alive(directory);
    const std::string path = outcome_path(directory);
    const auto text = read_file(files_, path, kMaxSmallFileBytes);
    if (text.status().code() == Code::kMissingInput) return look;
    if (!text.ok()) return text.status();
    LEASEHOLD_ASSIGN_OR_RETURN(look.outcome, parse_outcome(*text, path));
    return look;
  }

  void drain(const std::string& directory) override { signal(directory, SIGUSR1); }
  void end(const std::string& directory) override { signal(directory, SIGINT); }
  void end_by_force(const std::string& directory) override {
    const auto keeper = find_keeper(directory);
    if (keeper.ok()) kill_session(*keeper, /*spare_leader=*/false);
  }

  std::string output_tail(const std::string& directory) override {
    const auto file = files_.open(output_path(directory));
    if (!file.ok()) return "";
    const int64_t size = (*file)->size_bytes();
    std::string tail(static_cast<size_t>(std::min(size, kTailBytes)), '\0');
    const Status got = (*file)->read_at(size - std::ssize(tail), tail.data(), std::ssize(tail));
    return got.ok() ? tail : "";
  }

 private:
  struct Starting {
    pid_t pid;
    Deadline deadline;
  };

  Result<ProcessIdentity> find_keeper(const std::string& directory) {
    const std::string path = keeper_path(directory);
    LEASEHOLD_ASSIGN_OR_RETURN(const std::string text, read_file(files_, path, kMaxSmallFileBytes));
    return parse_identity(text, path);
  }

  bool keeper_is_alive(const std::string& directory) {
    const auto keeper = find_keeper(directory);
    const auto starting = starting_.find(directory);
    if (keeper.ok()) {
      if (starting != starting_.end()) starting_.erase(starting);
      return is_alive(*keeper);
    }
    if (starting == starting_.end()) return false;
    if (!starting->second.deadline.passed() && identify_process(starting->second.pid).ok()) {
      return true;
    }
    // It did not come so far; and it may not from now on.
    const bool gone = adopt(directory).ok();
    starting_.erase(starting);
    return gone ? keeper_is_alive(directory) : false;
  }

  void signal(const std::string& directory, int number) {
    const auto keeper = find_keeper(directory);
    if (keeper.ok()) signal_process(*keeper, number);
  }

  void reap() {
    std::erase_if(children_, [](pid_t pid) { return ::waitpid(pid, nullptr, WNOHANG) != 0; });
  }

  FileSystem& files_;
  std::string program_;
  std::vector<pid_t> children_;
  std::map<std::string, Starting> starting_;
};

}  // namespace

std::unique_ptr<GenerationHost> make_process_host(FileSystem& files, const std::string& program) {
  return std::make_unique<ProcessHost>(files, program);
}

}  // namespace leasehold
