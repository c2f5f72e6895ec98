// Ranks in messages: "2-3,7". A failure of some of several ranks begins with them: "ranks 2-3,7: no
// such file". A failure that names no rank concerns all of them.
#pragma once

#include <algorithm>
#include <charconv>
#include <fmt/format.h>
#include <string>
#include <string_view>
#include <vector>

namespace leasehold {

// Returns "2-3,7" for ascending ranks; "" for none.
inline std::string rank_list(const std::vector<int>& ranks) {
  std::string text;
  for (size_t i = 0; i < ranks.size(); ++i) {
    const size_t first = i;
    while (i + 1 < ranks.size() && ranks[i + 1] == ranks[i] + 1) ++i;
    text += fmt::format("{}{}", first == 0 ? "" : ",", ranks[first]);
    if (i > first) text += fmt::format("-{}", ranks[i]);
  }
  return text;
}

// Removes such a list from the front of `text` and returns it. Returns an empty list, and leaves
// `text` in an unspecified place, unless the ranks ascend and are at most a million.
inline std::vector<int> take_rank_list(std::string_view& text) {
  constexpr int kMaxRank = 1'000'000;
  const auto take = [&](int& rank) {
    const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), rank);
    if (failure != std::errc() || rank < 0 || rank > kMaxRank) return false;
    text.remove_prefix(static_cast<size_t>(end - text.data()));
    return true;
  };
  const auto take_sign = [&](char sign) {
    if (!text.starts_with(sign)) return false;
    text.remove_prefix(1);
    return true;
  };
  std::vector<int> ranks;
  do {
    int first = 0;
    if (!take(first)) return {};
    int last = first;
    if (take_sign('-') && !take(last)) return {};
    if (last < first || (!ranks.empty() && first <= ranks.back())) return {};
    for (int rank = first; rank <= last; ++rank) ranks.push_back(rank);
  } while (take_sign(','));
  return ranks;
}

// Returns "rank 2: " or "ranks 2-3: "; "" for none.
inline std::string rank_prefix(const std::vector<int>& ranks) {
  if (ranks.empty()) return "";
  return fmt::format("rank{} {}: ", ranks.size() == 1 ? "" : "s", rank_list(ranks));
}

// Returns the ranks that a message begins with, after any "context: "; empty if it names none. A
// place may follow the ranks: "rank 2 (node-b): no such file".
inline std::vector<int> ranks_named(std::string_view message) {
  constexpr std::string_view kWord = "rank";
  for (size_t at = message.find(kWord); at != std::string_view::npos;
       at = message.find(kWord, at + 1)) {
    if (at > 0 && !message.substr(0, at).ends_with(": ")) continue;
    std::string_view rest = message.substr(at + kWord.size());
    if (rest.starts_with('s')) rest.remove_prefix(1);
    if (!rest.starts_with(' ')) continue;
    rest.remove_prefix(1);
    std::vector<int> ranks = take_rank_list(rest);
    if (rest.starts_with(" (")) rest.remove_prefix(std::min(rest.find(')'), rest.size() - 1) + 1);
    if (!ranks.empty() && rest.starts_with(": ")) return ranks;
  }
  return {};
}

}  // namespace leasehold
