#include "launch/launchers/last_words.h"

#include <charconv>
#include <fmt/format.h>

#include "runtime/base/rank_list.h"

namespace leasehold {

namespace {

constexpr std::string_view kEnds = "leasehold-train ends with exit code ";
constexpr std::string_view kFault = ", the fault of ranks ";
constexpr int kMaxCode = 255;

bool take(std::string_view& text, std::string_view word) {
  if (!text.starts_with(word)) return false;
  text.remove_prefix(word.size());
  return true;
}

}  // namespace

std::string last_words(int exit_code, const std::vector<int>& ranks) {
  return fmt::format("{}{}{}{}", kEnds, exit_code, ranks.empty() ? "" : kFault, rank_list(ranks));
}

std::optional<LastWords> parse_last_words(std::string_view line) {
  if (!take(line, kEnds)) return std::nullopt;
  LastWords words;
  const auto [end, failure] =
      std::from_chars(line.data(), line.data() + line.size(), words.exit_code);
  if (failure != std::errc() || words.exit_code < 1 || words.exit_code > kMaxCode) {
    return std::nullopt;
  }
  line.remove_prefix(static_cast<size_t>(end - line.data()));
  if (take(line, kFault)) words.ranks = take_rank_list(line);
  return words;
}

}  // namespace leasehold
