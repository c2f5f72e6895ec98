// A job's plan as a page of text and as JSON. Pure.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "launch/plan/calendar_report.h"
#include "launch/plan/job_plan.h"

namespace leasehold {

// Device memory of the fullest rank, as leasehold-train forecasts it.
using PlannedMemory = std::map<JobLayout, int64_t>;

struct PlanReport {
  std::string job_name;
  std::string precision;
  Hardware hardware;
  int64_t world = 1;
  std::string world_is;  // where the number of ranks comes from
  double tokens_of_step = 0;
  double target_tokens = 0;
  JobPlan plan;
  JobLayout own;
  PlannedMemory memory;
  int64_t memory_limit_bytes = 0;  // of a rank
  std::string no_memory;           // why memory is not known; empty when it was asked for
  std::optional<CalendarReport> calendar;
  std::vector<std::string> remarks;
};

// Layouts that were weighed and fit, fastest first; those that do not fit are rejected with how
// much they lack. A layout whose memory is not known counts as one that fits.
std::vector<const PlannedLayout*> layouts_that_fit(const PlanReport& report);

std::string plan_text(const PlanReport& report);
std::string plan_json(const PlanReport& report);

}  // namespace leasehold
