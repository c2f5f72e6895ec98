#include "launch/supervisor/host_fault.h"

#include <algorithm>
#include <set>

#include "runtime/base/broken_host.h"
#include "runtime/base/resource_exhausted.h"

namespace leasehold {

namespace {

// Exit codes of a shell that cannot start a program, or does not find it.
constexpr int kCannotStart = 126;
constexpr int kNotFound = 127;

void replace_all(std::string& text, const std::string& from, const std::string& to) {
  if (from.empty()) return;
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
}

// Returns the message without what differs from host to host: names of hosts, and numbers.
std::string name_of(int exit_code, const std::string& reason,
                    const std::vector<PlannedHost>& hosts) {
  std::string text = reason;
  std::vector<std::string> names;
  for (const PlannedHost& host : hosts) names.push_back(host.host);
  // The longest first: one may be a part of another.
  std::ranges::sort(names, [](const auto& a, const auto& b) { return a.size() > b.size(); });
  for (const std::string& name : names) {
    if (name.size() > 1) replace_all(text, name, "HOST");
  }
  std::string plain;
  for (const char c : text) {
    const bool is_digit = c >= '0' && c <= '9';
    if (is_digit && plain.ends_with('#')) continue;
    plain += is_digit ? '#' : c;
  }
  // Another rank's words begin with its number, one's own do not.
  for (const char* ranks : {"ranks #-#: ", "ranks #,#: ", "rank #: "})
    replace_all(plain, ranks, "");
  return fmt::format("{}: {}", exit_code, plain);
}

bool is_of(const std::vector<PlannedHost>& hosts, const std::string& name) {
  return std::ranges::any_of(hosts, [&](const PlannedHost& host) { return host.host == name; });
}

// Returns the hosts that the output blames; none: nobody, or everybody.
std::set<std::string> blamed(const std::vector<PlannedHost>& hosts, const FailureReport& said) {
  std::set<std::string> names;
  for (const int rank : said.faulty_ranks) names.insert(host_of_rank(hosts, rank));
  if (names.empty() && !said.own_code && said.rank) names.insert(host_of_rank(hosts, *said.rank));
  if (names.empty() && !said.own_code && is_of(hosts, said.host)) names.insert(said.host);
  // What is everybody's there is that host's: others were not asked.
  if (names.empty() && said.own_code && hosts.size() == 1) names.insert(hosts.front().host);
  names.erase("");
  return names;
}

}  // namespace

bool may_be_a_hosts_fault(int exit_code) {
  for (const Code code : {Code::kUsage, Code::kBadData, Code::kMissingInput, kBrokenHost,
                          kResourceExhausted, Code::kBadConfig}) {
    if (exit_code == static_cast<int>(code)) return true;
  }
  return exit_code == kCannotStart || exit_code == kNotFound;
}

std::optional<HostFault> find_host_fault(const SupervisorState& state,
                                         const RunningGeneration& running, const Observation& seen,
                                         const SupervisorLimits& limits, int exit_code,
                                         const std::string& reason) {
  if (!may_be_a_hosts_fault(exit_code)) return std::nullopt;
  FailureReport said = seen.said;
  if (said.own_code == static_cast<int>(Code::kUnavailable)) {
    // Words of ranks that lost the one that failed: the launcher knows more.
    said.own_code.reset();
    said.faulty_ranks.clear();
  }
  const std::set<std::string> now = blamed(running.hosts, said);
  const bool all_took_part = now.size() == running.hosts.size();
  if (now.empty() || (all_took_part && now.size() > 1)) return std::nullopt;
  const std::string name = name_of(exit_code, reason, running.hosts);
  std::set<std::string> have_it = now;
  int64_t in_a_row = std::ssize(now);
  for (const auto& [host, record] : state.hosts) {
    if (record.fault != name || now.contains(host)) continue;
    have_it.insert(host);
    if (record.fault_step == state.newest_step) ++in_a_row;
  }
  std::set<std::string> ours = seen.leased;
  for (const PlannedHost& host : running.hosts) ours.insert(host.host);
  if (std::ranges::includes(have_it, ours)) return std::nullopt;
  // Rank 0 may be alone in having tried, and a launcher names the first to fail.
  const bool others_passed =
      !all_took_part && !said.faulty_ranks.empty() && said.faulty_ranks != std::vector<int>{0};
  if (!others_passed && in_a_row >= limits.same_failures_to_stop) return std::nullopt;
  return HostFault{{now.begin(), now.end()}, name};
}

}  // namespace leasehold
