// The one table of the job file's keys: it drives parsing, --set, defaults, ranges, messages,
// identity and the documentation.
#pragma once

#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "launch/job_file.h"

namespace leasehold {

// Where a key's value lies; which alternative it is says the key's type.
using JobSlot = std::variant<bool*, int64_t*, double*, std::string*, std::vector<std::string>*>;

struct JobRange {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  bool low_excluded = false;
  bool high_excluded = false;
};

struct JobKey {
  std::string_view table;
  std::string_view name;
  JobSlot (*slot)(JobFile&);
  std::string_view meaning;
  bool required = false;
  bool is_path = false;
  bool identity = false;  // may not change on resume
  // The value at which the key is left out of the identity: what runs that began before the key was
  // known are.
  std::string_view identity_without;
  // What the identity says of it instead of its value; "" leaves it out. Null: its value.
  std::string (*identity_text)(const JobFile&) = nullptr;
  JobRange range;                         // of numbers
  std::vector<std::string_view> choices;  // of strings; empty: any
  std::string_view computed_default;      // says a default that depends on other keys

  std::string full_name() const;  // "batch.lanes"
};

std::span<const JobKey> job_keys();
const JobKey* find_job_key(std::string_view table,
                           std::string_view name);  // nullptr when there is none
// The known key that somebody who wrote table.name most likely meant.
const JobKey& nearest_job_key(std::string_view table, std::string_view name);
std::string_view nearest_job_table(std::string_view table);

// A value as TOML or --set gives it.
struct JobValue {
  struct Other {
    std::string_view type;  // "a date"
  };
  struct Text {
    std::string text;  // of --set: its type is the key's
  };
  std::variant<bool, int64_t, double, std::string, std::vector<std::string>, Other, Text> value;
};

// Checks type, range and choices and stores. kBadConfig, beginning with the key's name.
Status assign_job_value(const JobKey& key, const JobValue& value, JobFile& job);

// The present value, as TOML would write it; plain, without quotes, for `identity_keys`.
std::string job_value_toml(const JobKey& key, const JobFile& job);
std::string job_value_text(const JobKey& key, const JobFile& job);

// The table of docs/job_file.md, in Markdown.
std::string job_keys_markdown();

}  // namespace leasehold
