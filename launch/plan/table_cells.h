// Tab-separated text with a line of column names.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/status.h"

namespace leasehold {

struct TableLine {
  int64_t number = 0;  // in the file, from 1
  std::vector<std::string_view> cells;
};

// Views into the text it was read from.
struct Table {
  std::map<std::string_view, size_t> columns;
  std::vector<TableLine> lines;
};

// Empty lines are left out; a line may end early. kBadData, naming path and line, for text without
// a first line, a column that stands twice, and a line with more cells than there are columns.
Result<Table> read_table(std::string_view text, const std::string& path);

// One line, by column.
class TableCells {
 public:
  TableCells(const Table& table, const TableLine& line) : table_(table), line_(line) {}
  // Without the space around it; empty when there is no such column or the line ends before it.
  std::string_view at(std::string_view column) const;

 private:
  const Table& table_;
  const TableLine& line_;
};

}  // namespace leasehold
