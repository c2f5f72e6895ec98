#include "launch/plan/hardware_toml.h"

#include <algorithm>

#include "launch/ascii_toml.h"
#include "launch/toml_library.h"
#include "runtime/base/file_kind.h"

namespace leasehold {

namespace {

HardwareEntry entry_of(std::string table, const toml::key& key, const toml::node& node) {
  HardwareEntry entry{.table = std::move(table),
                      .key = std::string(key.str()),
                      .value = HardwareEntry::Other{"something else"},
                      .line = static_cast<int64_t>(node.source().begin.line)};
  if (const auto* integer = node.as_integer()) {
    entry.value = static_cast<double>(integer->get());
  } else if (const auto* number = node.as_floating_point()) {
    entry.value = number->get();
  } else if (const auto* boolean = node.as_boolean()) {
    entry.value = boolean->get();
  } else if (const auto* text = node.as_string()) {
    entry.value = text->get();
  } else if (const auto* array = node.as_array()) {
    std::vector<std::string> strings;
    for (const toml::node& element : *array) {
      if (const auto* held = element.as_string()) strings.push_back(held->get());
    }
    if (strings.size() == array->size()) {
      entry.value = std::move(strings);
    } else {
      entry.value = HardwareEntry::Other{"a list of other things than strings"};
    }
  } else if (node.is_table()) {
    entry.value = HardwareEntry::Other{"a table"};
  }
  return entry;
}

}  // namespace

Result<std::vector<HardwareEntry>> read_hardware_toml(std::string_view text,
                                                      const std::string& path) {
  if (!text.empty()) {
    const Status kind = check_file_kind(text, path, "a hardware file");
    if (!kind.ok()) return Status(Code::kBadConfig, kind.message());
  }
  LEASEHOLD_ASSIGN_OR_RETURN(const std::string ascii, toml_in_ascii(text, path));
  const toml::parse_result parsed = toml::parse(ascii, path);
  if (!parsed) {
    return error(Code::kBadConfig, "{}:{}: not TOML: {}", path, parsed.error().source().begin.line,
                 parsed.error().description());
  }
  std::vector<HardwareEntry> entries;
  for (const auto& [key, node] : parsed.table()) {
    const toml::table* table = node.as_table();
    if (table == nullptr) {
      entries.push_back(entry_of("", key, node));
      continue;
    }
    for (const auto& [inner_key, inner] : *table) {
      entries.push_back(entry_of(std::string(key.str()), inner_key, inner));
    }
  }
  std::stable_sort(entries.begin(), entries.end(),
                   [](const auto& a, const auto& b) { return a.line < b.line; });
  return entries;
}

}  // namespace leasehold
