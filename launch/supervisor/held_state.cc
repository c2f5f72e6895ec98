#include "launch/supervisor/held_state.h"

#include <algorithm>
#include <set>

#include "launch/supervisor/failure_domains.h"

namespace leasehold {

std::vector<HeldPart> parts_on(const std::vector<PlannedHost>& hosts) {
  std::vector<FailureDomain> ranks;
  for (const PlannedHost& host : hosts) {
    ranks.insert(ranks.end(), static_cast<size_t>(host.slots), failure_domain(host));
  }
  const std::vector<int> partners = choose_partners(ranks);
  std::set<HeldPart> parts;
  for (size_t rank = 0; rank < ranks.size(); ++rank) {
    const int partner = partners[rank];
    parts.insert({ranks[rank].node, partner < 0 ? "" : ranks[static_cast<size_t>(partner)].node});
  }
  return {parts.begin(), parts.end()};
}

std::set<std::string> holders(const HeldState& held) {
  std::set<std::string> hosts;
  if (held.step <= held.step_of_files()) return hosts;
  for (const HeldPart& part : held.parts) hosts.insert(part.host);
  return hosts;
}

std::vector<std::string> missing_holders(const HeldState& held,
                                         const std::vector<PlannedHost>& hosts) {
  if (held.step <= held.step_of_files()) return {};
  const auto is_there = [&](const std::string& name) {
    return std::ranges::any_of(hosts, [&](const PlannedHost& host) { return host.host == name; });
  };
  std::set<std::string> missing;
  for (const HeldPart& part : held.parts) {
    if (is_there(part.host) || is_there(part.copy)) continue;
    missing.insert(part.host);
    if (!part.copy.empty()) missing.insert(part.copy);
  }
  return {missing.begin(), missing.end()};
}

}  // namespace leasehold
