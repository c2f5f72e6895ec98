// Reads TOML text into the entries of a calendar and their values, without judging them. Nothing
// else here includes toml++.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "runtime/base/status.h"

namespace leasehold {

struct LeaseValue {
  struct Moment {
    double unix_s = 0;  // of a TOML date-time with an offset
  };
  struct Other {
    std::string_view type;  // "a date"
  };
  std::variant<int64_t, double, std::string, std::vector<std::string>, Moment, Other> value;
};

// Returns "the integer 3", for messages about the value found.
std::string in_words(const LeaseValue& value);

struct LeaseTable {
  struct Entry {
    std::string key;
    LeaseValue value;
    int64_t line = 0;
  };
  int64_t line = 0;
  std::vector<Entry> entries;  // in the order of the lines
};

struct LeaseTables {
  std::vector<LeaseTable> leases;  // [[lease]], in the order of the file
  std::vector<LeaseTable> curtailments;
  std::vector<LeaseTable> contracts;
};

// Reads a calendar. kBadConfig, naming file and line, for text that is not TOML, for any other
// table, and for a key outside of a table.
Result<LeaseTables> read_lease_toml(std::string_view text, const std::string& path);

}  // namespace leasehold
