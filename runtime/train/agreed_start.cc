#include "runtime/train/agreed_start.h"

#include <algorithm>
#include <fmt/format.h>
#include <map>
#include <set>
#include <tuple>

#include "runtime/base/digest.h"
#include "runtime/comm/host_exchange.h"

namespace leasehold {

namespace {

// Separates texts that hold none.
constexpr char kEnd = '\0';

std::string encode(std::span<const StartFact> facts) {
  std::string text;
  for (const StartFact& fact : facts) text += fact.name + kEnd + fact.value + kEnd;
  return text;
}

std::vector<StartFact> decode(const std::string& text) {
  std::vector<std::string> words;
  for (size_t begin = 0, end = 0; begin < text.size(); begin = end + 1) {
    end = std::min(text.find(kEnd, begin), text.size());
    words.push_back(text.substr(begin, end - begin));
  }
  std::vector<StartFact> facts;
  for (size_t i = 0; i + 1 < words.size(); i += 2) facts.push_back({words[i], words[i + 1]});
  return facts;
}

}  // namespace

std::string first_difference(std::span<const StartFact> mine, std::span<const StartFact> others,
                             int other_rank) {
  const auto find = [](std::span<const StartFact> facts, const std::string& name) {
    return std::ranges::find(facts, name, &StartFact::name);
  };
  for (const StartFact& fact : mine) {
    const auto other = find(others, fact.name);
    if (other == others.end())
      return fmt::format("{} is not known on rank {}", fact.name, other_rank);
    if (other->value != fact.value) {
      return fmt::format("{} is {} here and {} on rank {}", fact.name, fact.value, other->value,
                         other_rank);
    }
  }
  for (const StartFact& fact : others) {
    if (find(mine, fact.name) == mine.end())
      return fmt::format("{} is known on rank {} and not here", fact.name, other_rank);
  }
  return "";
}

int majority_rank(std::span<const std::string> facts, std::span<const std::string> nodes) {
  struct Party {
    std::set<std::string> nodes;
    int num_ranks = 0;
    int lowest = 0;
  };
  std::map<std::string, Party> parties;
  for (size_t rank = 0; rank < facts.size(); ++rank) {
    Party& party = parties[facts[rank]];
    if (party.num_ranks++ == 0) party.lowest = static_cast<int>(rank);
    party.nodes.insert(nodes[rank]);
  }
  const auto strength = [](const auto& party) {
    return std::tuple(party.second.nodes.size(), party.second.num_ranks, -party.second.lowest);
  };
  return std::ranges::max_element(parties, {}, strength)->second.lowest;
}

Status compare_start(std::span<const StartFact> mine, const std::string& node, Communicator& world,
                     Stream& stream, double timeout_s) {
  const std::string text = encode(mine);
  const std::string digest = digest128(text.data(), text.size()).to_hex();
  LEASEHOLD_ASSIGN_OR_RETURN(
      const std::vector<std::string> all,
      all_gather_bytes(world, stream, digest + node, after_group_timeout(timeout_s)));
  std::vector<std::string> facts, nodes;
  for (const std::string& told : all) {
    facts.push_back(told.substr(0, digest.size()));
    nodes.push_back(told.substr(digest.size()));
  }
  const int majority = majority_rank(facts, nodes);
  LEASEHOLD_ASSIGN_OR_RETURN(
      const std::string of_most,
      broadcast_bytes(world, stream, text, majority, after_group_timeout(timeout_s)));
  const std::string difference = first_difference(mine, decode(of_most), majority);
  Status alike;
  if (!difference.empty()) {
    alike = error(Code::kBadConfig,
                  "node {}: {}: all ranks of a run need the same job, data and program; start them "
                  "with one command from files that are the same on every node",
                  node, difference);
  }
  return agree(world, stream, alike, after_group_timeout(timeout_s));
}

}  // namespace leasehold
