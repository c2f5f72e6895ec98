// Writes what a calendar makes of a job as text and as JSON: worlds, tokens by date, money. Pure.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "launch/plan/calendar_walk.h"

namespace leasehold {

// The end of the same walk when tranches come late.
struct LateOutcome {
  Delivery delivery = Delivery::kPlanned;
  double end_s = 0;
  double steps = 0;
  bool reached_target = false;
};

struct CalendarReport {
  std::string calendar;  // its path
  double from_s = 0;
  double tokens_of_step = 0;
  double target_tokens = 0;
  CalendarWalk walk;
  std::vector<LeaseCost> costs;
  std::vector<ContractBook> books;
  std::vector<LateOutcome> late;  // empty: no lease names a slip
  std::string ends;  // why the walk ends where it does, where neither target nor calendar end it
};

std::string calendar_text(const CalendarReport& report);
nlohmann::ordered_json calendar_json(const CalendarReport& report);

}  // namespace leasehold
