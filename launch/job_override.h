// `--set table.key=value`: how its value is read. docs/job_file.md states the rule.
#pragma once

#include <string>

#include "launch/job_schema.h"
#include "runtime/base/status.h"

namespace leasehold {

struct JobOverride {
  std::string table;
  std::string name;
  JobValue value;
};

// Takes an argument of --set apart. Space around the key and the value does not count. A value that
// begins with a quote is a TOML string, for a list one that begins with '[' a TOML array; a number
// or boolean may be written as in TOML; everything else is taken as it stands. Pure. kUsage without
// table, key and '='; kBadConfig for a quote or bracket that TOML does not read to the value's end.
// Does not ask for a known key.
Result<JobOverride> parse_job_override(const std::string& text);

}  // namespace leasehold
