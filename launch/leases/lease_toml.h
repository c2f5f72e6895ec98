// TOML text to the entries of a calendar and their values, not yet judged. toml++ stays behind
// this.
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

// "the integer 3": what a message says that it got.
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
};

// kBadConfig, naming file and line, for text that is not TOML, another table than these two, and a
// key outside of them.
Result<LeaseTables> read_lease_toml(std::string_view text, const std::string& path);

}  // namespace leasehold
