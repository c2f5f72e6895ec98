// Functions that the sources of `leasehold plan` share.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launch/plan/commands_plan.h"
#include "launch/plan/hardware.h"
#include "launch/plan/plan_report.h"

namespace leasehold {

// Returns a shipped part by its name, or reads the file where `name_or_path` is a path (it has a
// slash or ends in .toml).
Result<Hardware> plan_hardware(const std::string& name_or_path);

// Predicts the rows of `command.rows`.
Status plan_rows(const PlanCommand& command, const Logger& logger);

// The number of ranks that a plan is for, and who gave it.
struct PlannedWorld {
  int64_t ranks = 1;
  std::string from;
};

// Returns the bytes of a part's memory that a rank may fill: the driver, libraries and fragments
// take the rest.
int64_t usable_memory_bytes(const Hardware& hardware);

// Loads the job's calendar, times after its first launch counted from now; nothing where --world
// gives the ranks or the job has none. kUsage for --until and --budget without one.
Result<std::optional<LeaseCalendar>> calendar_of(const PlanCommand& command, const JobFile& job,
                                                 double now_s);

// Returns the most slots that the calendar's leases have at once, from now on.
Result<PlannedWorld> world_of_calendar(const JobFile& job, const LeaseCalendar& calendar,
                                       double now_s);

// Walks the supervisor's decisions over the calendar with the steps of this part, to the target,
// --until or the end of --budget. Slots of GPUs whose lease names no memory have the part's. kUsage
// for a time that cannot be, kBadConfig for a budget without prices or one that buys no step.
Result<CalendarReport> report_calendar(const PlanCommand& command, const JobFile& job,
                                       const Hardware& hardware, const LeaseCalendar& calendar,
                                       double now_s);

// Returns the seconds that a start, and a save, count for while none was measured.
double unmeasured_s(const JobFile& job);

// Blocks while leasehold-train forecasts what layouts of one tensor degree need.
Result<MemoryForecasts> ask_memory(const PlanCommand& command, int64_t tensor,
                                   const std::vector<LayoutOfWorld>& questions);

// Asks for the memory of the fastest layouts until enough fit, and leaves the others out. Without
// leasehold-train next to the program the report says that memory is not known. kBadConfig when
// none fits.
Status add_memory(const PlanCommand& command, PlanReport& report);

}  // namespace leasehold
