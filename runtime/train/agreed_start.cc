#include "runtime/train/agreed_start.h"

#include <algorithm>
#include <fmt/format.h>

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

std::string first_difference(std::span<const StartFact> mine,
                             std::span<const StartFact> of_rank_0) {
  const auto find = [](std::span<const StartFact> facts, const std::string& name) {
    return std::ranges::find(facts, name, &StartFact::name);
  };
  for (const StartFact& fact : mine) {
    const auto other = find(of_rank_0, fact.name);
    if (other == of_rank_0.end()) return fmt::format("{} is not known on rank 0", fact.name);
    if (other->value != fact.value) {
      return fmt::format("{} is {} here and {} on rank 0", fact.name, fact.value, other->value);
    }
  }
  for (const StartFact& fact : of_rank_0) {
    if (find(mine, fact.name) == mine.end())
      return fmt::format("{} is known on rank 0 alone", fact.name);
  }
  return "";
}

Status compare_start(std::span<const StartFact> mine, const std::string& node, Communicator& world,
                     Stream& stream, double timeout_s) {
  LEASEHOLD_ASSIGN_OR_RETURN(
      const std::string of_rank_0,
      broadcast_bytes(world, stream, encode(mine), 0, after_group_timeout(timeout_s)));
  const std::string difference = first_difference(mine, decode(of_rank_0));
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
