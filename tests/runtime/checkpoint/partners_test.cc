// Who keeps whose copy.
#include "runtime/checkpoint/partners.h"

#include <algorithm>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <map>
#include <random>

namespace leasehold {
namespace {

std::vector<FailureDomain> nodes(const std::vector<std::string>& names) {
  std::vector<FailureDomain> ranks;
  for (const std::string& name : names) ranks.push_back({.node = name});
  return ranks;
}

TEST(Partners, OneNodeHasNone) {
  EXPECT_EQ(choose_partners(nodes({"a"})), (std::vector<int>{-1}));
  EXPECT_EQ(choose_partners(nodes({"a", "a"})), (std::vector<int>{-1, -1}));
}

TEST(Partners, TwoNodesKeepEachOthers) {
  EXPECT_EQ(choose_partners(nodes({"a", "b"})), (std::vector<int>{1, 0}));
  EXPECT_EQ(choose_partners(nodes({"a", "a", "b", "b"})), (std::vector<int>{2, 3, 0, 1}));
}

TEST(Partners, AnotherLeaseEndThenSiteThenProviderIsPreferred) {
  std::vector<FailureDomain> ranks = nodes({"a", "b", "c", "d"});
  for (FailureDomain& rank : ranks) rank.lease_end = "1";
  for (FailureDomain& rank : ranks) rank.site = "texas";
  ranks[2].lease_end = "2";
  EXPECT_EQ(choose_partners(ranks)[0], 2);
  ranks[2].lease_end = "1";
  ranks[3].site = "europe";
  EXPECT_EQ(choose_partners(ranks)[0], 3);
  ranks[3].site = "texas";
  ranks[0].provider = ranks[1].provider = "x";
  ranks[2].provider = "y";
  EXPECT_EQ(choose_partners(ranks)[0], 2);
}

TEST(Partners, OnAnotherNodeAndEvenlyLoaded) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  std::mt19937 random(seed);
  for (int trial = 0; trial < 300; ++trial) {
    std::vector<FailureDomain> ranks(1 + random() % 24);
    const unsigned num_nodes = 1 + random() % 6;
    std::map<std::string, int> sizes;
    for (FailureDomain& rank : ranks) {
      const unsigned node = random() % num_nodes;
      rank = {.node = std::to_string(node),
              .lease_end = std::to_string(node % 3),
              .site = std::to_string(node % 2),
              .provider = ""};
      ++sizes[rank.node];
    }
    const std::vector<int> partners = choose_partners(ranks);
    ASSERT_EQ(partners, choose_partners(ranks));
    std::vector<int> load(ranks.size(), 0);
    int largest = 0;
    for (const auto& [node, size] : sizes) largest = std::max(largest, size);
    for (size_t rank = 0; rank < ranks.size(); ++rank) {
      if (sizes.size() == 1) {
        EXPECT_EQ(partners[rank], -1);
        continue;
      }
      ASSERT_GE(partners[rank], 0);
      EXPECT_NE(ranks[static_cast<size_t>(partners[rank])].node, ranks[rank].node);
      ++load[static_cast<size_t>(partners[rank])];
    }
    // What a large node's ranks must put on the few others, and one for the order of choice.
    const int total = static_cast<int>(ranks.size());
    if (sizes.size() == 1) continue;
    const int bound = (largest + (total - largest) - 1) / std::max(1, total - largest) + 1;
    EXPECT_LE(*std::ranges::max_element(load), bound);
  }
}

}  // namespace
}  // namespace leasehold
