#include "launch/launchers/node_command.h"

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <unistd.h>

namespace leasehold {

namespace {

std::optional<int64_t> whole_number(std::string_view text) {
  int64_t value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

Result<int64_t> own_rank() {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"}) {
    const char* text = std::getenv(name);
    if (text == nullptr) continue;
    const auto rank = whole_number(text);
    if (rank) return *rank;
    return error(Code::kUsage, "{}=\"{}\" is no rank", name, text);
  }
  return error(Code::kUsage, "no launcher says which rank this is: `leasehold launch` starts it");
}

}  // namespace

Result<std::string> node_of_rank(std::string_view nodes, int64_t rank) {
  std::string_view rest = nodes;
  while (!rest.empty()) {
    const std::string_view item = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(item.size() + 1, rest.size()));
    const size_t colon = item.rfind(':');
    const auto slots =
        colon == std::string_view::npos ? std::nullopt : whole_number(item.substr(colon + 1));
    if (!slots || colon == 0) {
      return error(Code::kUsage, "\"{}\" in \"{}\": write NODE:RANKS,...", item, nodes);
    }
    if (rank < *slots) return std::string(item.substr(0, colon));
    rank -= *slots;
  }
  return error(Code::kUsage, "\"{}\" has too few places for the ranks: {} are missing", nodes,
               rank + 1);
}

Status run_node_command(const std::string& nodes, std::vector<std::string> command) {
  LEASEHOLD_ASSIGN_OR_RETURN(const int64_t rank, own_rank());
  LEASEHOLD_ASSIGN_OR_RETURN(const std::string node, node_of_rank(nodes, rank));
  ::setenv("LEASEHOLD_NODE", node.c_str(), 1);
  std::vector<char*> arguments;
  for (std::string& argument : command) arguments.push_back(argument.data());
  arguments.push_back(nullptr);
  ::execvp(arguments[0], arguments.data());
  return error(Code::kMissingInput, "{}: {}", command[0], std::strerror(errno));
}

}  // namespace leasehold
