#include "launch/supervisor/keeper.h"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <optional>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launch/supervisor/outcome.h"
#include "launch/supervisor/process_identity.h"
#include "runtime/base/clock.h"

namespace leasehold {

namespace {

constexpr double kLookS = 0.5;       // a signal ends the wait before
constexpr double kPublishForS = 60;  // a full disk may become less full
constexpr double kPublishPauseS = 0.5;
constexpr double kReapForS = 2;

constexpr int kHandled[] = {SIGCHLD, SIGUSR1, SIGTERM, SIGINT, SIGHUP};

sigset_t handled_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : kHandled) sigaddset(&set, signal);
  return set;
}

[[noreturn]] void exec_command(const std::vector<char*>& arguments, pid_t keeper) {
  ::prctl(PR_SET_PDEATHSIG, SIGINT);
  if (::getppid() != keeper) ::_exit(127);  // it died before the line above
  // mpirun dies of a SIGUSR1 that comes before it is ready for it, unless it is ignored until then.
  ::signal(SIGUSR1, SIG_IGN);
  ::signal(SIGINT, SIG_DFL);  // a shell starts what is in its background with it ignored
  sigset_t blocked;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  ::sigprocmask(SIG_SETMASK, &blocked, nullptr);
  ::execvp(arguments[0], arguments.data());
  const char* const problem = std::strerror(errno);
  const char* const program = arguments[0];
  for (const char* part : {"leasehold keeper: ", program, ": ", problem, "\n"}) {
    if (::write(STDERR_FILENO, part, std::strlen(part)) < 0) break;
  }
  ::_exit(127);
}

Status redirect_output(const std::string& path) {
  const int input = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  const int output = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (input < 0 || output < 0) {
    return error(Code::kStorage, "{}: {}", path, std::strerror(errno));
  }
  ::dup2(input, STDIN_FILENO);
  ::dup2(output, STDOUT_FILENO);
  ::dup2(output, STDERR_FILENO);
  // Nothing of the supervisor's stays open in here: neither its lock nor its ports.
  ::close_range(3, ~0U, 0);
  return ok_status();
}

// Collects dead children; mpirun's status when it is among them.
std::optional<int> reap(pid_t command) {
  std::optional<int> ended;
  int status = 0;
  for (pid_t pid; (pid = ::waitpid(-1, &status, WNOHANG)) > 0;) {
    if (pid == command) ended = status;
  }
  return ended;
}

// Until mpirun has ended; its status.
int attend(pid_t command, const ProcessIdentity& self, double end_grace_s) {
  const sigset_t handled = handled_signals();
  std::optional<double> kill_at_s;
  for (;;) {
    if (const auto status = reap(command)) return *status;
    const double now_s = system_clock().steady_s();
    if (kill_at_s && now_s >= *kill_at_s) kill_session(self, /*spare_leader=*/true);
    const timespec wait = {.tv_sec = 0, .tv_nsec = static_cast<long>(kLookS * 1e9)};
    switch (::sigtimedwait(&handled, nullptr, &wait)) {
      case SIGUSR1:
      case SIGTERM:
      case SIGHUP:
        ::kill(command, SIGUSR1);
        break;
      case SIGINT:
        ::kill(command, SIGINT);
        ::kill(command, SIGCONT);  // it may be stopped
        if (!kill_at_s) kill_at_s = now_s + end_grace_s;
        break;
      default:
        break;
    }
  }
}

Status publish_outcome(FileSystem& files, const std::string& path, const Outcome& outcome) {
  const Deadline deadline = Deadline::after_s(kPublishForS);
  for (;;) {
    Status published = publish_file(files, path, encode_outcome(outcome), "keeper");
    if (published.ok() || deadline.passed()) return published;
    system_clock().sleep_s(kPublishPauseS);
  }
}

// Ranks that mpirun left behind.
void end_session(const ProcessIdentity& self) {
  const Deadline deadline = Deadline::after_s(kReapForS);
  while (kill_session(self, /*spare_leader=*/true) > 0 && !deadline.passed()) {
    system_clock().sleep_s(0.01);
    reap(-1);
  }
}

}  // namespace

std::string keeper_path(const std::string& generation_dir) {
  return join_path(generation_dir, "keeper.json");
}
std::string output_path(const std::string& generation_dir) {
  return join_path(generation_dir, "output.log");
}
std::string outcome_path(const std::string& generation_dir) {
  return join_path(generation_dir, "outcome.json");
}

Status run_keeper(FileSystem& files, const KeeperOptions& options) {
  LEASEHOLD_ASSIGN_OR_RETURN(const ProcessIdentity self, identify_process(::getpid()));
  if (::getsid(0) != ::getpid()) {
    return error(Code::kUsage, "a keeper wants a session of its own: `leasehold launch` starts it");
  }
  const sigset_t handled = handled_signals();
  ::sigprocmask(SIG_BLOCK, &handled, nullptr);
  // From now on a supervisor finds this process instead of starting another one.
  LEASEHOLD_RETURN_IF_ERROR(
      files.create_exclusive(keeper_path(options.generation_dir), encode_identity(self)));
  LEASEHOLD_RETURN_IF_ERROR(redirect_output(output_path(options.generation_dir)));
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);

  std::vector<std::string> command = options.command;
  std::vector<char*> arguments;
  for (std::string& argument : command) arguments.push_back(argument.data());
  arguments.push_back(nullptr);
  Outcome outcome;
  outcome.begin_s = system_clock().unix_s();
  const pid_t child = ::fork();
  if (child < 0) return error(Code::kInternal, "fork: {}", std::strerror(errno));
  if (child == 0) exec_command(arguments, static_cast<pid_t>(self.pid));
  const int status = attend(child, self, options.end_grace_s);
  end_session(self);
  outcome.end_s = system_clock().unix_s();
  if (WIFEXITED(status)) {
    outcome.exit_code = WEXITSTATUS(status);
  } else {
    outcome.signal = WTERMSIG(status);
  }
  return publish_outcome(files, outcome_path(options.generation_dir), outcome);
}

}  // namespace leasehold
