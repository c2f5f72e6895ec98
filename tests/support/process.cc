#include "tests/support/process.h"

#include <atomic>
#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/base/check.h"
#include "runtime/base/clock.h"

extern char** environ;

namespace leasehold {

namespace {

constexpr double kPollS = 0.01;

std::string slurp(const std::string& path) {
  std::ifstream file(path);
  std::stringstream content;
  content << file.rdbuf();
  return content.str();
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (std::string& text : texts) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

}  // namespace

Process::Process(const std::vector<std::string>& command, const std::string& directory,
                 const std::vector<std::string>& environment) {
  static std::atomic<int> count{0};
  const std::string stem =
      fmt::format("{}/process-{}-{}", directory, ::getpid(), count.fetch_add(1));
  output_path_ = stem + ".out";
  errors_path_ = stem + ".err";
  std::vector<std::string> arguments = command;
  std::vector<std::string> variables;
  for (char** variable = environ; *variable != nullptr; ++variable)
    variables.emplace_back(*variable);
  variables.insert(variables.end(), environment.begin(), environment.end());
  auto argument_pointers = pointers(arguments);
  auto variable_pointers = pointers(variables);
  pid_ = ::fork();
  LEASEHOLD_CHECK(pid_ >= 0, "fork failed: errno {}", errno);
  if (pid_ == 0) {
    ::setpgid(0, 0);
    const int input = ::open("/dev/null", O_RDONLY);
    const int output = ::open(output_path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    const int errors = ::open(errors_path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (input < 0 || output < 0 || errors < 0) ::_exit(126);
    ::dup2(input, 0);
    ::dup2(output, 1);
    ::dup2(errors, 2);
    ::execvpe(argument_pointers[0], argument_pointers.data(), variable_pointers.data());
    ::_exit(127);
  }
  ::setpgid(pid_, pid_);
}

Process::~Process() {
  if (ended_) return;
  ::kill(-pid_, SIGKILL);
  ::waitpid(pid_, &status_, 0);
}

void Process::signal(int number) const { ::kill(pid_, number); }

std::string Process::errors() const { return slurp(errors_path_); }

bool Process::wait_for_text(const std::string& text, double timeout_s) {
  const Deadline deadline = Deadline::after_s(timeout_s);
  while (!deadline.passed()) {
    const bool ended = ended_ || (ended_ = ::waitpid(pid_, &status_, WNOHANG) == pid_);
    if (errors().find(text) != std::string::npos) return true;
    if (ended) return false;
    system_clock().sleep_s(kPollS);
  }
  return false;
}

Finished Process::wait(double timeout_s) {
  const Deadline deadline = Deadline::after_s(timeout_s);
  Finished finished;
  while (!ended_ && !(ended_ = ::waitpid(pid_, &status_, WNOHANG) == pid_)) {
    if (deadline.passed()) {
      finished.timed_out = true;
      ::kill(-pid_, SIGKILL);
      ::waitpid(pid_, &status_, 0);
      ended_ = true;
      break;
    }
    system_clock().sleep_s(kPollS);
  }
  finished.exit_code = WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_);
  finished.output = slurp(output_path_);
  finished.errors = slurp(errors_path_);
  return finished;
}

Finished run_program(const std::vector<std::string>& command, const std::string& directory,
                     double timeout_s, const std::vector<std::string>& environment) {
  return Process(command, directory, environment).wait(timeout_s);
}

std::vector<pid_t> children_of(pid_t parent, const std::string& text) {
  std::vector<pid_t> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    std::istringstream stat(slurp(entry.path() / "stat"));
    std::string line = stat.str();
    const size_t after_name = line.rfind(')');  // the name may contain anything
    if (after_name == std::string::npos) continue;
    std::istringstream fields(line.substr(after_name + 1));
    char state = 0;
    pid_t ppid = 0;
    fields >> state >> ppid;
    if (ppid != parent) continue;
    const auto pid = static_cast<pid_t>(std::stol(name));
    if (slurp(entry.path() / "cmdline").find(text) != std::string::npos) {
      found.push_back(pid);
    } else {
      // MPICH puts a proxy between mpirun and its ranks.
      const auto further = children_of(pid, text);
      found.insert(found.end(), further.begin(), further.end());
    }
  }
  return found;
}

}  // namespace leasehold
