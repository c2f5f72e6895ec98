#include "runtime/checkpoint/partners.h"

#include <algorithm>
#include <cstddef>
#include <map>
#include <tuple>

namespace leasehold {

namespace {

bool differ(const std::string& a, const std::string& b) {
  return !a.empty() && !b.empty() && a != b;
}

}  // namespace

std::vector<int> choose_partners(const std::vector<FailureDomain>& ranks) {
  const int size = static_cast<int>(ranks.size());
  const auto at = [&](int rank) -> const FailureDomain& {
    return ranks[static_cast<size_t>(rank)];
  };
  std::vector<int> partner(ranks.size(), -1);
  std::vector<int> load(ranks.size(), 0);
  std::map<std::string, int> ranks_of_node;
  for (const FailureDomain& rank : ranks) ++ranks_of_node[rank.node];
  // The ranks of large nodes choose first: they have the fewest to choose from.
  std::vector<int> order(ranks.size());
  for (int rank = 0; rank < size; ++rank) order[static_cast<size_t>(rank)] = rank;
  std::ranges::stable_sort(
      order, [&](int a, int b) { return ranks_of_node[at(a).node] > ranks_of_node[at(b).node]; });
  for (const int rank : order) {
    using Rating = std::tuple<int, bool, bool, bool, int>;  // smaller is better
    Rating best;
    for (int ahead = 1; ahead < size; ++ahead) {
      const int other = (rank + ahead) % size;
      if (at(other).node == at(rank).node) continue;
      const Rating rating = {load[static_cast<size_t>(other)],
                             !differ(at(other).lease_end, at(rank).lease_end),
                             !differ(at(other).site, at(rank).site),
                             !differ(at(other).provider, at(rank).provider), ahead};
      int& chosen = partner[static_cast<size_t>(rank)];
      if (chosen >= 0 && best <= rating) continue;
      best = rating;
      chosen = other;
    }
    const int chosen = partner[static_cast<size_t>(rank)];
    if (chosen >= 0) ++load[static_cast<size_t>(chosen)];
  }
  return partner;
}

}  // namespace leasehold
