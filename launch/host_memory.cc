#include "launch/host_memory.h"

#include <set>

#include "launch/run_memory.h"
#include "runtime/base/clock.h"
#include "runtime/checkpoint/snapshot_slot.h"

namespace leasehold {

namespace {

constexpr double kPollS = 0.02;

}  // namespace

std::vector<std::string> hosts_that_left(const std::vector<WorldFile>& worlds) {
  std::set<std::string> hosts;
  for (const WorldFile& world : worlds) {
    for (const PlannedHost& host : world.hosts) hosts.insert(host.host);
  }
  if (!worlds.empty()) {
    for (const PlannedHost& host : worlds.back().hosts) hosts.erase(host.host);
  }
  return {hosts.begin(), hosts.end()};
}

std::string memory_removal(const std::string& run_dir) {
  std::string command = "rm -rf";
  for (const std::string& prefix : memory_prefixes(run_dir))
    command += fmt::format(" {}/{}*", kSharedMemory, prefix);
  return command;
}

std::vector<std::string> ask_all(Prober& prober, const std::vector<std::string>& hosts) {
  for (const std::string& host : hosts) prober.start(host);
  std::vector<std::string> problems;
  for (size_t answers = 0; answers < hosts.size();) {
    const auto results = prober.take_results();
    for (const ProbeResult& result : results) {
      if (!result.answered) problems.push_back(fmt::format("{}: {}", result.host, result.message));
    }
    answers += results.size();
    if (results.empty()) system_clock().sleep_s(kPollS);
  }
  return problems;
}

}  // namespace leasehold
