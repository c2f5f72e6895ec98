#include "launch/supervisor/prober.h"

#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <map>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/base/clock.h"

extern char** environ;

namespace leasehold {

namespace {

class LocalProber : public Prober {
 public:
  void start(const std::string& host) override { asked_.insert(host); }
  std::set<std::string> under_way() const override { return asked_; }
  std::vector<ProbeResult> take_results() override {
    std::vector<ProbeResult> results;
    for (const std::string& host : asked_) results.push_back({host, true, ""});
    asked_.clear();
    return results;
  }

 private:
  std::set<std::string> asked_;
};

// A child in a process group of its own.
class AgentProber : public Prober {
 public:
  AgentProber(std::string agent, double deadline_s, std::string command)
      : agent_(std::move(agent)), deadline_s_(deadline_s), command_(std::move(command)) {}
  ~AgentProber() override {
    for (const auto& [host, probe] : probes_) {
      ::kill(-probe.pid, SIGKILL);
      ::waitpid(probe.pid, nullptr, 0);
    }
  }

  void start(const std::string& host) override {
    if (probes_.contains(host)) return;
    std::vector<std::string> arguments = {agent_};
    if (agent_ == "ssh") {
      arguments.insert(arguments.end(), {"-o", "BatchMode=yes", "-o", "ConnectTimeout=5"});
    }
    arguments.insert(arguments.end(), {host, command_});
    std::vector<char*> pointers;
    for (std::string& argument : arguments) pointers.push_back(argument.data());
    pointers.push_back(nullptr);
    pid_t pid = 0;
    const int problem = spawn(pid, pointers);
    if (problem != 0) {
      results_.push_back({host, false, fmt::format("{}: {}", agent_, std::strerror(problem))});
      return;
    }
    probes_.insert_or_assign(host, Probe{pid, Deadline::after_s(deadline_s_)});
  }

  std::set<std::string> under_way() const override {
    std::set<std::string> hosts;
    for (const auto& [host, probe] : probes_) hosts.insert(host);
    return hosts;
  }

  std::vector<ProbeResult> take_results() override {
    for (auto probe = probes_.begin(); probe != probes_.end();) {
      probe = poll(probe->first, probe->second) ? probes_.erase(probe) : std::next(probe);
    }
    return std::exchange(results_, {});
  }

 private:
  struct Probe {
    pid_t pid;
    Deadline deadline;
  };

  static int spawn(pid_t& pid, const std::vector<char*>& arguments) {
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_t actions;
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    posix_spawnattr_setpgroup(&attributes, 0);
    for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
      posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_RDWR, 0);
    }
    const int problem =
        ::posix_spawnp(&pid, arguments[0], &actions, &attributes, arguments.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return problem;
  }

  // True when it is over.
  bool poll(const std::string& host, const Probe& probe) {
    int status = 0;
    if (::waitpid(probe.pid, &status, WNOHANG) == probe.pid) {
      const bool answered = WIFEXITED(status) && WEXITSTATUS(status) == 0;
      const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      results_.push_back(
          {host, answered,
           answered ? ""
                    : fmt::format("`{} {} {}` ended with code {}", agent_, host, command_, code)});
      return true;
    }
    if (!probe.deadline.passed()) return false;
    ::kill(-probe.pid, SIGKILL);
    ::waitpid(probe.pid, nullptr, 0);
    results_.push_back({host, false,
                        fmt::format("`{} {} {}` did not end within {:.0f} s", agent_, host,
                                    command_, deadline_s_)});
    return true;
  }

  std::string agent_;
  double deadline_s_;
  std::string command_;
  std::map<std::string, Probe> probes_;
  std::vector<ProbeResult> results_;
};

}  // namespace

std::unique_ptr<Prober> make_prober(const std::string& hosts, double deadline_s,
                                    const std::string& command) {
  if (hosts == "local") return std::make_unique<LocalProber>();
  return std::make_unique<AgentProber>(hosts, deadline_s, command);
}

}  // namespace leasehold
