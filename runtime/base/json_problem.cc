#include "runtime/base/json_problem.h"

#include <fmt/format.h>

namespace leasehold {

namespace {

// Returns the library's message without the parts that only its own developers need.
std::string plain_words(std::string_view message) {
  for (const std::string_view prefix : {"] ", "parse error at ", "parse error: "}) {
    const size_t at = message.find(prefix);
    if (prefix == "] " ? message.starts_with('[') && at != message.npos : at == 0)
      message.remove_prefix(at + prefix.size());
  }
  std::string words;
  for (const char c : message) {
    const auto byte = static_cast<unsigned char>(c);
    words += byte < 0x20 || byte >= 0x7F ? fmt::format("\\x{:02X}", byte) : std::string(1, c);
  }
  return words;
}

std::string_view hint(std::string_view words) {
  if (words.find("surrogate") != words.npos) {
    return " (half of a surrogate pair: the program that wrote it cut a character in two)";
  }
  if (words.find("unexpected end of input") != words.npos) return " (cut off?)";
  return "";
}

}  // namespace

std::string json_problem(const nlohmann::json::exception& problem) {
  std::string words = plain_words(problem.what());
  words += hint(words);
  return words;
}

std::string json_line_problem(const nlohmann::json::exception& problem) {
  std::string words = json_problem(problem);
  constexpr std::string_view kFirst = "line 1, ";
  return words.starts_with(kFirst) ? words.substr(kFirst.size()) : words;
}

}  // namespace leasehold
