// Walks a job through its lease calendar: the supervisor's own decisions (launch/leases/planner.h),
// taken one after the other with a clock that jumps. No host fails, and every start, step and save
// takes its planned time. Pure.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "launch/leases/planner.h"

namespace leasehold {

struct WalkInput {
  const LeaseCalendar& calendar;
  PlanLimits limits;
  double start_s = 60;  // from the decision to the first step
  double save_s = 60;   // from the wish to drain to the manifest
  double from_s = 0;    // unix time
  double until_s = kNever;
  double target_steps = 0;
  // Seconds of a step in a layout on so many ranks.
  std::function<Result<double>(const Layout& layout, int64_t world)> step_s;
  // Answers the planner, which asks where leases name their memory.
  std::function<Result<MemoryForecasts>(const std::vector<LayoutOfWorld>& questions)> forecast;
};

struct WalkPeriod {
  enum class Kind { kWaiting, kStarting, kTraining, kSaving };
  Kind kind = Kind::kWaiting;
  double begin_s = 0;
  double end_s = 0;
  int64_t world = 0;
  Layout layout;
  double steps = 0;                                // made in it
  std::map<std::string, int64_t> slots_of_leases;  // that train, by the lease's id
  std::string why;
};
std::string_view in_words(WalkPeriod::Kind kind);

struct CalendarWalk {
  std::vector<WalkPeriod> periods;
  double end_s = 0;  // of the last period; kNever: it would wait for ever
  double steps = 0;
  bool reached_target = false;
};

// Walks until the target, `until_s`, or for ever nothing more happens. Fails as step_s and forecast
// do.
Result<CalendarWalk> walk_calendar(const WalkInput& input);

// Returns the moment up to which money counts: a walk that waits for ever counts up to where it
// begins to.
double counted_end_s(const CalendarWalk& walk);

// A lateness of tranches.
enum class Delivery { kPlanned, kMedian, kOneOfTen };

// Returns the calendar in which every lease that has not begun at `now_s` begins as late as it does
// then (slip_p50, slip_p90).
// Ends stay; a lease that would begin after its end is left out. All slip together: the worst that
// one provider's delay can do.
LeaseCalendar delivered(const LeaseCalendar& calendar, Delivery delivery, double now_s);

// The cost of a lease, used or not.
struct LeaseCost {
  std::string lease;
  std::string provider;
  double slot_hours = 0;     // leased, from the walk's begin to its end
  double trained_hours = 0;  // of them, in steps
  double usd = 0;
};
std::vector<LeaseCost> lease_costs(const LeaseCalendar& calendar, const CalendarWalk& walk,
                                   double from_s);

// The rest of a contract after its provider's leases have cost so much.
struct ContractBook {
  std::string provider;
  double used_usd = 0;  // by leases, up to the walk's end
  double prepaid_usd = 0;
  double first_in_left_usd = 0;  // of it, when it is used up before anything is paid
  double pro_rata_left_usd = 0;  // of it, when each invoice takes its share of the minimum; as
                                 // first_in where there is no minimum
  double minimum_usd = 0;
  double owed_usd = 0;  // of the minimum, beyond what leases have cost and will cost
};
// Counts each lease from its begin, also before `from_s`; one without a begin from `from_s`.
std::vector<ContractBook> contract_books(const LeaseCalendar& calendar, double from_s, double to_s);

// Returns the dollars of all leases between two moments.
double cost_usd(const LeaseCalendar& calendar, double from_s, double to_s);

// Returns when all leases together have cost `budget_usd`; kNever when they never do.
double budget_end_s(const LeaseCalendar& calendar, double from_s, double budget_usd);

}  // namespace leasehold
