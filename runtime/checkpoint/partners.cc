#include "runtime/checkpoint/partners.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <tuple>

namespace leasehold {

namespace {

// Numbers in place of texts; 0 is unknown.
class Numbering {
 public:
  int of(const std::string& text) {
    if (text.empty()) return 0;
    return numbers_.try_emplace(text, static_cast<int>(numbers_.size()) + 1).first->second;
  }

 private:
  std::map<std::string, int> numbers_;
};

// Domain of ranks that stand or fall together, apart from their node.
using Domain = std::tuple<int, int, int>;  // lease end, site, provider

bool differ(int a, int b) { return a != 0 && b != 0 && a != b; }

// Rates a holder's domain; 0 is best.
int rating(const Domain& mine, const Domain& other) {
  return (differ(std::get<0>(mine), std::get<0>(other)) ? 0 : 4) +
         (differ(std::get<1>(mine), std::get<1>(other)) ? 0 : 2) +
         (differ(std::get<2>(mine), std::get<2>(other)) ? 0 : 1);
}

// Chooses holders one by one. Ranks with the same load and domain are kept together, so a choice
// looks at domains and not at ranks.
class Chooser {
 public:
  explicit Chooser(const std::vector<FailureDomain>& ranks) {
    Numbering nodes, ends, sites, providers;
    std::map<Domain, int> numbers;
    for (const FailureDomain& rank : ranks) {
      const Domain domain{ends.of(rank.lease_end), sites.of(rank.site),
                          providers.of(rank.provider)};
      const auto [found, is_new] = numbers.try_emplace(domain, static_cast<int>(domains_.size()));
      if (is_new) domains_.push_back(domain);
      domain_of_.push_back(found->second);
      node_of_.push_back(nodes.of(rank.node));
    }
    load_.resize(ranks.size());
    levels_.emplace_back(domains_.size());
    for (int rank = 0; rank < size(); ++rank) levels_[0].add(rank, domain(rank), node(rank));
    find_next_others();
  }

  // The holder of `rank`; -1 when all are on its node.
  int choose(int rank) {
    for (Level& level : levels_) {
      const std::vector<int> best = best_domains(level, rank);
      if (best.empty()) continue;
      const int holder = nearest(level, rank, best);
      level.remove(holder, domain(holder), node(holder));
      const auto load = static_cast<size_t>(++load_[static_cast<size_t>(holder)]);
      if (load == levels_.size()) levels_.emplace_back(domains_.size());
      levels_[load].add(holder, domain(holder), node(holder));
      return holder;
    }
    return -1;
  }

 private:
  // Ranks that hold the same number of copies, by domain.
  struct Level {
    explicit Level(size_t num_domains) : ranks(num_domains), on_node(num_domains) {}
    void add(int rank, int domain, int node) {
      ranks[static_cast<size_t>(domain)].insert(rank);
      ++on_node[static_cast<size_t>(domain)][node];
    }
    void remove(int rank, int domain, int node) {
      ranks[static_cast<size_t>(domain)].erase(rank);
      --on_node[static_cast<size_t>(domain)][node];
    }
    std::vector<std::set<int>> ranks;
    std::vector<std::map<int, int>> on_node;  // how many of them
  };

  int size() const { return static_cast<int>(node_of_.size()); }
  int node(int rank) const { return node_of_[static_cast<size_t>(rank)]; }
  int domain(int rank) const { return domain_of_[static_cast<size_t>(rank)]; }
  int ahead(int rank, int other) const { return (other - rank + size()) % size(); }

  // The nearest following rank of another node, for each rank; itself when there is none.
  void find_next_others() {
    for (int rank = 0; rank < size(); ++rank) next_other_.push_back(rank);
    for (int step = 2 * size() - 1; step >= 0; --step) {
      const int rank = step % size(), next = (rank + 1) % size();
      const int other = node(next) != node(rank) ? next : next_other_[static_cast<size_t>(next)];
      if (node(other) != node(rank)) next_other_[static_cast<size_t>(rank)] = other;
    }
  }

  std::vector<int> best_domains(const Level& level, int rank) const {
    constexpr int kWorst = 8;
    int best_rating = kWorst;
    std::vector<int> best;
    for (int other = 0; other < static_cast<int>(domains_.size()); ++other) {
      const auto& members = level.ranks[static_cast<size_t>(other)];
      if (members.empty()) continue;
      const int rated =
          rating(domains_[static_cast<size_t>(domain(rank))], domains_[static_cast<size_t>(other)]);
      if (rated > best_rating) continue;
      const auto& on_node = level.on_node[static_cast<size_t>(other)];
      const auto own = on_node.find(node(rank));
      if (own != on_node.end() && own->second == static_cast<int>(members.size())) continue;
      if (rated < best_rating) best.clear();
      best_rating = rated;
      best.push_back(other);
    }
    return best;
  }

  int nearest(const Level& level, int rank, const std::vector<int>& domains) const {
    int chosen = -1;
    for (const int of : domains) {
      const int found = nearest_in(level.ranks[static_cast<size_t>(of)], rank);
      if (chosen < 0 || ahead(rank, found) < ahead(rank, chosen)) chosen = found;
    }
    return chosen;
  }

  // There is one of another node.
  int nearest_in(const std::set<int>& members, int rank) const {
    int from = next_other_[static_cast<size_t>(rank)];
    while (true) {
      auto found = members.lower_bound(from);
      if (found == members.end()) found = members.begin();
      if (node(*found) != node(rank)) return *found;
      from = next_other_[static_cast<size_t>(*found)];
    }
  }

  std::vector<Domain> domains_;
  std::vector<int> domain_of_, node_of_, load_, next_other_;  // by rank
  std::vector<Level> levels_;                                 // by load
};

}  // namespace

std::vector<int> choose_partners(const std::vector<FailureDomain>& ranks) {
  std::map<std::string, int> ranks_of_node;
  for (const FailureDomain& rank : ranks) ++ranks_of_node[rank.node];
  // The ranks of large nodes choose first: they have the fewest to choose from.
  std::vector<int> order, size_of_own;
  for (const FailureDomain& rank : ranks) {
    order.push_back(static_cast<int>(order.size()));
    size_of_own.push_back(ranks_of_node[rank.node]);
  }
  std::ranges::stable_sort(order, std::greater<>(),
                           [&](int rank) { return size_of_own[static_cast<size_t>(rank)]; });
  std::vector<int> partners(ranks.size(), -1);
  Chooser chooser(ranks);
  for (const int rank : order) partners[static_cast<size_t>(rank)] = chooser.choose(rank);
  return partners;
}

}  // namespace leasehold
