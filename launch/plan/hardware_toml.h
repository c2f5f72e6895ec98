// Reads a hardware file into values of our own: the one place that knows toml++.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "runtime/base/status.h"

namespace leasehold {

struct HardwareEntry {
  struct Other {
    std::string_view type;  // in words
  };
  std::string table;  // "" for keys above all tables
  std::string key;
  std::variant<double, bool, std::string, std::vector<std::string>, Other> value;  // any number is
                                                                                   // a double
  int64_t line = 0;
};

// Entries in the order of the file; an empty table gives none. kBadConfig for text that is not
// TOML, naming path and line.
Result<std::vector<HardwareEntry>> read_hardware_toml(std::string_view text,
                                                      const std::string& path);

}  // namespace leasehold
