// A job's plan as a page of text and as JSON. Pure.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "launch/plan/calendar_report.h"
#include "launch/plan/goodput.h"
#include "launch/plan/job_plan.h"

namespace leasehold {

// Device memory of the fullest rank, as leasehold-train forecasts it.
using PlannedMemory = std::map<JobLayout, int64_t>;

// A job's ways to survive failures.
struct JobFailures {
  double restart_s = 0;
  int64_t steps_of_interval = 0;  // between two kept states; 0: none before the end
  bool snapshots = false;         // in memory, after every step
  double save_s = 0;              // of a checkpoint without snapshots
};

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
  JobFailures failures;
  std::optional<CalendarReport> calendar;
  std::vector<std::string> remarks;
};

// Returns the layouts that were weighed and fit, fastest first; those that do not fit are rejected
// with how much they lack. A layout whose memory is not known counts as one that fits.
std::vector<const PlannedLayout*> layouts_that_fit(const PlanReport& report);

// Returns the share of the time that makes steps, with so many failures of a node in 1000 days.
double goodput_of(const PlanReport& report, const PlannedLayout& planned, double failures_of_node);

std::string plan_text(const PlanReport& report);
std::string plan_json(const PlanReport& report);

}  // namespace leasehold
