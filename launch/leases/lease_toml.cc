#include "launch/leases/lease_toml.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>

#include "launch/ascii_toml.h"
#include "launch/leases/lease_times.h"
#include "launch/nearest_name.h"
#include "launch/toml_library.h"
#include "runtime/base/file_kind.h"

namespace leasehold {

namespace {

constexpr std::array<std::string_view, 3> kTables = {"lease", "curtailment", "contract"};

std::string_view type_in_words(toml::node_type type) {
  switch (type) {
    case toml::node_type::boolean:
      return "a boolean";
    case toml::node_type::table:
      return "a table";
    case toml::node_type::array:
      return "a list of other things than strings";
    case toml::node_type::date:
      return "a date";
    case toml::node_type::time:
      return "a time of day";
    case toml::node_type::date_time:
      return "a date and time without an offset from UTC";
    default:
      return "something else";
  }
}

// Returns nullopt if the date-time has no offset.
std::optional<double> moment_of(const toml::date_time& moment) {
  if (!moment.offset) return std::nullopt;
  return unix_seconds({.year = moment.date.year,
                       .month = moment.date.month,
                       .day = moment.date.day,
                       .hour = moment.time.hour,
                       .minute = moment.time.minute,
                       .second = moment.time.second,
                       .nanosecond = moment.time.nanosecond,
                       .offset_minutes = moment.offset->minutes});
}

LeaseValue value_of(const toml::node& node) {
  if (const auto* value = node.as_integer()) return {int64_t{value->get()}};
  if (const auto* value = node.as_floating_point()) return {value->get()};
  if (const auto* value = node.as_string()) return {value->get()};
  if (const auto* value = node.as_date_time()) {
    if (const auto unix_s = moment_of(value->get())) return {LeaseValue::Moment{*unix_s}};
  }
  if (const auto* array = node.as_array()) {
    std::vector<std::string> strings;
    for (const toml::node& element : *array) {
      if (const auto* value = element.as_string()) strings.push_back(value->get());
    }
    if (strings.size() == array->size()) return {std::move(strings)};
  }
  return {LeaseValue::Other{type_in_words(node.type())}};
}

int64_t line_of(const toml::node& node) { return node.source().begin.line; }

LeaseTable table_of(const toml::table& node) {
  LeaseTable table{.line = line_of(node), .entries = {}};
  for (const auto& [key, value] : node) {
    table.entries.push_back({std::string(key.str()), value_of(value), line_of(value)});
  }
  std::stable_sort(table.entries.begin(), table.entries.end(),
                   [](const auto& a, const auto& b) { return a.line < b.line; });
  return table;
}

// Returns the tables of `[[name]]`.
Result<std::vector<LeaseTable>> tables_of(const toml::node& node, std::string_view name,
                                          const std::string& path) {
  const auto refuse = [&](const toml::node& where) {
    return error(Code::kBadConfig, "{0}:{1}: write [[{2}]], with its keys below, once for each {2}",
                 path, line_of(where), name);
  };
  const toml::array* array = node.as_array();
  if (array == nullptr) return refuse(node);
  std::vector<LeaseTable> tables;
  for (const toml::node& element : *array) {
    const toml::table* table = element.as_table();
    if (table == nullptr) return refuse(element.source().begin.line > 0 ? element : node);
    tables.push_back(table_of(*table));
  }
  return tables;
}

}  // namespace

std::string in_words(const LeaseValue& value) {
  struct {
    std::string operator()(int64_t held) const { return fmt::format("the integer {}", held); }
    std::string operator()(double held) const { return fmt::format("the number {}", held); }
    std::string operator()(const std::string& held) const {
      return fmt::format("the string \"{}\"", held);
    }
    std::string operator()(const std::vector<std::string>&) const { return "a list of strings"; }
    std::string operator()(LeaseValue::Moment) const { return "a date and time"; }
    std::string operator()(LeaseValue::Other held) const { return std::string(held.type); }
  } const words;
  return std::visit(words, value.value);
}

Result<LeaseTables> read_lease_toml(std::string_view text, const std::string& path) {
  if (!text.empty()) {
    const Status kind = check_file_kind(text, path, "a lease calendar");
    if (!kind.ok()) return Status(Code::kBadConfig, kind.message());
  }
  LEASEHOLD_ASSIGN_OR_RETURN(const std::string ascii, toml_in_ascii(text, path));
  const toml::parse_result parsed = toml::parse(ascii, path);
  if (!parsed) {
    return error(Code::kBadConfig, "{}:{}: not TOML: {}", path, parsed.error().source().begin.line,
                 parsed.error().description());
  }
  LeaseTables tables;
  for (const auto& [key, node] : parsed.table()) {
    const std::string_view name = key.str();
    if (name == "lease") {
      LEASEHOLD_ASSIGN_OR_RETURN(tables.leases, tables_of(node, name, path));
    } else if (name == "curtailment") {
      LEASEHOLD_ASSIGN_OR_RETURN(tables.curtailments, tables_of(node, name, path));
    } else if (name == "contract") {
      LEASEHOLD_ASSIGN_OR_RETURN(tables.contracts, tables_of(node, name, path));
    } else if (node.is_table() || node.is_array_of_tables()) {
      return error(Code::kBadConfig, "{}:{}: there is no [[{}]]; did you mean [[{}]]?", path,
                   line_of(node), name, nearest_name(name, kTables));
    } else {
      return error(
          Code::kBadConfig,
          "{}:{}: '{}' stands outside of [[lease]], [[curtailment]] and [[contract]]; move "
          "it below one",
          path, line_of(node), name);
    }
  }
  return tables;
}

}  // namespace leasehold
