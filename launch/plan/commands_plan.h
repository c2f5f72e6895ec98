// `leasehold plan`: the step of a job on given hardware before anything is rented, and of rows of
// published steps.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "runtime/base/log.h"
#include "runtime/base/status.h"

namespace leasehold {

struct PlanCommand {
  std::string job_path;                // empty: rows
  std::vector<std::string> overrides;  // of --set
  std::string hardware;                // a name or a file; empty: by the job or the row
  std::optional<int64_t> world;        // ranks; else the calendar's most
  std::optional<int64_t> tokens;       // to train; else run.steps says
  std::string until;                   // a time as calendars write it; empty: up to the target
  std::optional<double> budget;        // USD that leases may cost
  bool json = false;
  std::string rows;       // a file of published steps
  std::string calibrate;  // measured ones
};

// Prints to stdout. kUsage for options that do not go together, kMissingInput for a file that is
// not there, kBadConfig for a job that fits nowhere or hardware that lacks a figure, kBadData for
// rows that cannot be read; rows that can be predicted are printed all the same.
Status run_plan(const PlanCommand& command, const Logger& logger);

}  // namespace leasehold
