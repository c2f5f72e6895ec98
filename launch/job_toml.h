// Reads TOML text as values of a job's keys, and hides toml++.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "launch/job_schema.h"
#include "runtime/base/status.h"

namespace leasehold {

struct JobEntry {
  std::string table;
  std::string name;
  JobValue value;
  int64_t line = 0;
};

// Returns every key of every table, in the order of the lines. Fails with kBadConfig, naming file
// and line, for text that is not TOML, a key outside a table, or a table inside a table.
Result<std::vector<JobEntry>> read_job_toml(std::string_view text, const std::string& path);

// Returns the value in `text`, with nothing after it, not even a comment. Fails with kBadConfig, in
// the library's words, for anything else.
Result<JobValue> read_toml_value(std::string_view text);

}  // namespace leasehold
