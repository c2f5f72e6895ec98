// Parses `--set table.key=value`. docs/job_file.md states how values are read.
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

// Splits an argument of --set into key and value. Ignores space around either. A value that begins
// with a quote is a TOML string; for a list, a value that begins with '[' is a TOML array; a number
// or boolean may be written as in TOML; everything else is taken as it stands. Accepts unknown
// keys. Fails with kUsage without table, key and '=', and with kBadConfig for a quote or bracket
// that TOML does not read to the value's end. Pure.
Result<JobOverride> parse_job_override(const std::string& text);

}  // namespace leasehold
