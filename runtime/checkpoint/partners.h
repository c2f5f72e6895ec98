// Who keeps a copy of whose state: a pure decision.
#pragma once

#include <string>
#include <vector>

namespace leasehold {

// Where a rank stands, and what may take it away together with others. Empty texts are unknown and
// differ from nothing.
struct FailureDomain {
  std::string node;
  std::string lease_end;  // any text; equal ends are equal texts
  std::string site;
  std::string provider;
};

// By rank: the rank on another node that keeps its copy; -1 when all ranks are on one node. Holders
// are as evenly loaded as the nodes' sizes allow; among those, by preference on another lease end,
// site and provider, in this order; then the nearest following rank. The same on every rank. Takes
// time in W log W + W D for W ranks in D different domains (nodes apart).
std::vector<int> choose_partners(const std::vector<FailureDomain>& ranks);

}  // namespace leasehold
