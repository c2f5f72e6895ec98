#include "launch/supervisor/prober.h"

#include <map>

#include "launch/supervisor/child_process.h"

namespace leasehold {

namespace {

// Returns the last words of an output, which are mostly the reason.
std::string last_line(std::string_view output) {
  constexpr std::string_view kBlanks = " \t\r\n";
  const size_t end = output.find_last_not_of(kBlanks);
  if (end == std::string_view::npos) return "";
  output = output.substr(0, end + 1);
  const size_t before = output.rfind('\n');
  if (before != std::string_view::npos) output.remove_prefix(before + 1);
  return std::string(output.substr(0, kMaxFailureMessageBytes));
}

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

class AgentProber : public Prober {
 public:
  AgentProber(std::string agent, double deadline_s, std::string command)
      : agent_(std::move(agent)), deadline_s_(deadline_s), command_(std::move(command)) {}

  void start(const std::string& host) override {
    if (probes_.contains(host)) return;
    std::vector<std::string> arguments = {agent_};
    if (agent_ == "ssh") {
      arguments.insert(arguments.end(), {"-o", "BatchMode=yes", "-o", "ConnectTimeout=5"});
    }
    arguments.insert(arguments.end(), {host, command_});
    auto child = ChildProcess::start(std::move(arguments), {}, deadline_s_);
    if (!child.ok()) {
      results_.push_back({host, false, child.status().message()});
      return;
    }
    probes_.insert_or_assign(host, std::move(child).value());
  }

  std::set<std::string> under_way() const override {
    std::set<std::string> hosts;
    for (const auto& [host, child] : probes_) hosts.insert(host);
    return hosts;
  }

  std::vector<ProbeResult> take_results() override {
    for (auto probe = probes_.begin(); probe != probes_.end();) {
      const auto outcome = probe->second->poll();
      if (outcome)
        results_.push_back({probe->first, outcome->code == 0, why_not(probe->first, *outcome)});
      probe = outcome ? probes_.erase(probe) : std::next(probe);
    }
    return std::exchange(results_, {});
  }

 private:
  std::string why_not(const std::string& host, const ChildOutcome& outcome) const {
    if (outcome.code == 0) return "";
    const std::string end = outcome.code ? fmt::format("ended with code {}", *outcome.code)
                                         : fmt::format("did not end within {:.0f} s", deadline_s_);
    const std::string said = last_line(outcome.output);
    if (!said.empty()) return fmt::format("{} (`{} {}` {})", said, agent_, host, end);
    return fmt::format("`{} {} {}` {}", agent_, host, command_, end);
  }

  std::string agent_;
  double deadline_s_;
  std::string command_;
  std::map<std::string, std::unique_ptr<ChildProcess>> probes_;
  std::vector<ProbeResult> results_;
};

}  // namespace

std::unique_ptr<Prober> make_prober(const std::string& hosts, double deadline_s,
                                    const std::string& command) {
  if (hosts == "local") return std::make_unique<LocalProber>();
  return std::make_unique<AgentProber>(hosts, deadline_s, command);
}

}  // namespace leasehold
