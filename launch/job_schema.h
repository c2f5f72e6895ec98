// Declares the one table of the job file's keys, which drives parsing, --set, defaults, ranges,
// messages, identity and the documentation.
#pragma once

#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "launch/job_file.h"

namespace leasehold {

// A pointer to a key's value. Its alternative is the key's type.
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
  bool identity = false;  // must not change on resume
  // The value that runs from before the key existed have. At this value the key is left out of the
  // identity.
  std::string_view identity_without;
  // Returns the identity's text in place of the value; "" leaves the key out. Null: the value.
  std::string (*identity_text)(const JobFile&) = nullptr;
  JobRange range;                         // for numbers
  std::vector<std::string_view> choices;  // for strings; empty: any
  std::string_view computed_default;      // describes a default that depends on other keys

  std::string full_name() const;  // "batch.lanes"
};

std::span<const JobKey> job_keys();
// Returns the key, or nullptr if there is none.
const JobKey* find_job_key(std::string_view table, std::string_view name);
// Returns the known key that a misspelled table.name most likely means.
const JobKey& nearest_job_key(std::string_view table, std::string_view name);
// Returns the known table that a misspelled one most likely means.
std::string_view nearest_job_table(std::string_view table);

// A value as given by TOML or --set.
struct JobValue {
  struct Other {
    std::string_view type;  // "a date"
  };
  struct Text {
    std::string text;  // from --set; the key decides its type
  };
  std::variant<bool, int64_t, double, std::string, std::vector<std::string>, Other, Text> value;
};

// Checks type, range and choices, then stores the value. Fails with kBadConfig; the message begins
// with the key's name.
Status assign_job_value(const JobKey& key, const JobValue& value, JobFile& job);

// Returns the present value as TOML would write it.
std::string job_value_toml(const JobKey& key, const JobFile& job);
// Returns the present value without quotes, as `identity_keys` holds it.
std::string job_value_text(const JobKey& key, const JobFile& job);

// Returns the table of docs/job_file.md, in Markdown.
std::string job_keys_markdown();

}  // namespace leasehold
