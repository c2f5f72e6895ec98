#include "launch/job_toml.h"

#include <algorithm>

#include "launch/ascii_toml.h"
#include "launch/toml_library.h"
#include "runtime/base/file_kind.h"

namespace leasehold {

namespace {

std::string_view type_in_words(toml::node_type type) {
  switch (type) {
    case toml::node_type::table:
      return "a table";
    case toml::node_type::array:
      return "a list of values other than strings";
    case toml::node_type::date:
      return "a date";
    case toml::node_type::time:
      return "a time";
    case toml::node_type::date_time:
      return "a date and time";
    default:
      return "something else";
  }
}

JobValue value_of(const toml::node& node) {
  if (const auto* value = node.as_boolean()) return {value->get()};
  if (const auto* value = node.as_integer()) return {int64_t{value->get()}};
  if (const auto* value = node.as_floating_point()) return {value->get()};
  if (const auto* value = node.as_string()) return {value->get()};
  if (const auto* array = node.as_array()) {
    std::vector<std::string> strings;
    for (const toml::node& element : *array) {
      if (const auto* value = element.as_string()) strings.push_back(value->get());
    }
    if (strings.size() == array->size()) return {std::move(strings)};
  }
  return {JobValue::Other{type_in_words(node.type())}};
}

bool is_job_table(std::string_view table) {
  const auto keys = job_keys();
  return std::any_of(keys.begin(), keys.end(),
                     [&](const JobKey& key) { return key.table == table; });
}

int64_t line_of(const toml::node& node) { return node.source().begin.line; }

}  // namespace

Result<std::vector<JobEntry>> read_job_toml(std::string_view text, const std::string& path) {
  if (!text.empty()) {
    const Status kind = check_file_kind(text, path, "a job file");
    if (!kind.ok()) return Status(Code::kBadConfig, kind.message());
  }
  LEASEHOLD_ASSIGN_OR_RETURN(const std::string ascii, toml_in_ascii(text, path));
  const toml::parse_result parsed = toml::parse(ascii, path);
  if (!parsed) {
    return error(Code::kBadConfig, "{}:{}: not TOML: {}", path, parsed.error().source().begin.line,
                 parsed.error().description());
  }
  std::vector<JobEntry> entries;
  for (const auto& [table_name, table_node] : parsed.table()) {
    const std::string table(table_name.str());
    const auto refuse = [&, line = line_of(table_node)](const std::string& why) {
      return error(Code::kBadConfig, "{}:{}: {}", path, line, why);
    };
    const toml::table* table_value = table_node.as_table();
    if (table_value == nullptr && is_job_table(table)) {
      return refuse(fmt::format("'{0}' is a table: write [{0}] and its keys below", table));
    }
    if (table_value == nullptr) {
      const JobKey& nearest = nearest_job_key("", table);
      return refuse(fmt::format("'{}' is outside the tables; did you mean {} under [{}]?", table,
                                nearest.name, nearest.table));
    }
    if (table_value->empty() && !is_job_table(table)) {
      return refuse(fmt::format("there is no table [{}]; did you mean [{}]?", table,
                                nearest_job_table(table)));
    }
    for (const auto& [name, node] : *table_value) {
      entries.push_back({table, std::string(name.str()), value_of(node), line_of(node)});
    }
  }
  std::stable_sort(entries.begin(), entries.end(),
                   [](const JobEntry& a, const JobEntry& b) { return a.line < b.line; });
  return entries;
}

Result<JobValue> read_toml_value(std::string_view text) {
  // Parse the value inside an array, where neither a comment nor a second value can hide: the array
  // would not end, or would be longer.
  LEASEHOLD_ASSIGN_OR_RETURN(const std::string ascii, toml_in_ascii(text, "the value"));
  const toml::parse_result parsed = toml::parse(fmt::format("v = [{}, 0]", ascii));
  if (!parsed) return error(Code::kBadConfig, "{}", parsed.error().description());
  const toml::array* array = parsed.table()["v"].as_array();
  if (parsed.table().size() != 1 || array == nullptr || array->size() != 2)
    return error(Code::kBadConfig, "more than one value");
  return value_of(*array->get(0));
}

}  // namespace leasehold
