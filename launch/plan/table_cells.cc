#include "launch/plan/table_cells.h"

#include <algorithm>

namespace leasehold {

namespace {

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \r";
  const size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

std::vector<std::string_view> cells_of(std::string_view line) {
  std::vector<std::string_view> cells;
  for (size_t begin = 0; begin <= line.size();) {
    const size_t end = std::min(line.find('\t', begin), line.size());
    cells.push_back(trimmed(line.substr(begin, end - begin)));
    begin = end + 1;
  }
  return cells;
}

}  // namespace

Result<Table> read_table(std::string_view text, const std::string& path) {
  Table table;
  int64_t number = 0;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    ++number;
    if (trimmed(line).empty()) continue;
    std::vector<std::string_view> cells = cells_of(line);
    if (table.columns.empty()) {
      for (size_t i = 0; i < cells.size(); ++i) {
        if (table.columns.emplace(cells[i], i).second) continue;
        return error(Code::kBadData, "{}:{}: column '{}' stands twice", path, number, cells[i]);
      }
      continue;
    }
    if (cells.size() > table.columns.size()) {
      return error(Code::kBadData, "{}:{}: {} cells for {} columns; cells are separated by tabs",
                   path, number, cells.size(), table.columns.size());
    }
    table.lines.push_back({number, std::move(cells)});
  }
  if (table.columns.empty()) {
    return error(Code::kBadData, "{}: is empty; its first line names the columns", path);
  }
  return table;
}

std::string_view TableCells::at(std::string_view column) const {
  const auto found = table_.columns.find(column);
  if (found == table_.columns.end() || found->second >= line_.cells.size()) return {};
  return line_.cells[found->second];
}

}  // namespace leasehold
