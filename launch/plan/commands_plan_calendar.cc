// Part of commands_plan.h: the job over its lease calendar.
#include <algorithm>
#include <fmt/format.h>

#include "launch/layout_candidates.h"
#include "launch/leases/host_windows.h"
#include "launch/leases/lease_times.h"
#include "launch/plan/commands_plan_parts.h"

namespace leasehold {

namespace {

// A start and a save that were never measured, in margins, as the planner counts them.
constexpr double kUnmeasuredMargins = 2;

struct WalkEnd {
  double at_s = kNever;
  std::string why;
};

// The first of --until and of the end of --budget.
Result<WalkEnd> walk_end(const PlanCommand& command, const LeaseCalendar& calendar, double now_s) {
  WalkEnd end;
  if (!command.until.empty()) {
    const auto until = parse_lease_time(command.until, now_s);
    if (!until || *until <= now_s) {
      return error(
          Code::kUsage,
          "--until '{}': write a time after now, \"2027-03-01T00:00:00Z\", or one from now "
          "on, \"+30d\"",
          command.until);
    }
    end = {*until, "--until ends the plan there"};
  }
  if (!command.budget) return end;
  const double spent_s = budget_end_s(calendar, now_s, *command.budget);
  if (spent_s == kNever && cost_usd(calendar, now_s, now_s + 1e9) <= 0) {
    return error(
        Code::kBadConfig,
        "--budget: no lease from now on has a price: write lease.price_per_slot_hour (USD) "
        "into the calendar");
  }
  if (spent_s < end.at_s) end = {spent_s, fmt::format("{} USD are spent there", *command.budget)};
  return end;
}

// Slots of GPUs have the part's memory where their lease names none.
LeaseCalendar with_memory(LeaseCalendar calendar, const Hardware& hardware) {
  for (Lease& lease : calendar.leases) {
    if (lease.memory_per_slot_bytes > 0 || hardware.per_thread) continue;
    lease.memory_per_slot_bytes = usable_memory_bytes(hardware);
  }
  return calendar;
}

bool has_slips(const LeaseCalendar& calendar) {
  return std::any_of(calendar.leases.begin(), calendar.leases.end(),
                     [](const Lease& lease) { return lease.slip_p90_s > 0; });
}

Result<CalendarWalk> walk_one(const PlanCommand& command, const JobFile& job,
                              const Hardware& hardware, const LeaseCalendar& calendar, double now_s,
                              double until_s, double target_steps) {
  const auto step_s = [&](const Layout& layout, int64_t world) -> Result<double> {
    const JobFile in_layout = with_layout(job, {job.parallel.tensor, layout});
    LEASEHOLD_ASSIGN_OR_RETURN(const PlannedLayout planned,
                               plan_layout(in_layout, hardware, world));
    return planned.step.seconds;
  };
  const auto ask = [&](const std::vector<LayoutOfWorld>& questions) {
    return ask_memory(command, job.parallel.tensor, questions);
  };
  return walk_calendar({.calendar = calendar,
                        .limits = {{.min_world = job.launch.min_world,
                                    .lanes = job.batch.lanes,
                                    .tensor = job.parallel.tensor,
                                    .layouts = layout_candidates(job)},
                                   job.launch.margin_s},
                        .start_s = unmeasured_s(job),
                        .save_s = unmeasured_s(job),
                        .from_s = now_s,
                        .until_s = until_s,
                        .target_steps = target_steps,
                        .step_s = step_s,
                        .forecast = ask});
}

}  // namespace

double unmeasured_s(const JobFile& job) {
  return kUnmeasuredMargins * std::max(1.0, job.launch.margin_s);
}

Result<PlannedWorld> world_of_calendar(const JobFile& job, const LeaseCalendar& calendar,
                                       double now_s) {
  PlannedWorld most{.ranks = 0,
                    .from = fmt::format("the most that {} has at once", job.lease.calendar)};
  for (double at_s = now_s; at_s != kNever; at_s = next_calendar_moment_s(calendar, at_s)) {
    int64_t ranks = 0;
    for (const HostWindow& window : host_windows(calendar, at_s)) {
      if (window.state == HostWindow::State::kOpen) ranks += window.lease->slots;
    }
    most.ranks = std::max(most.ranks, ranks);
  }
  if (most.ranks > 0) return most;
  return error(Code::kBadConfig, "{}: all leases are over: add one, or give --world",
               job.lease.calendar);
}

Result<std::optional<LeaseCalendar>> calendar_of(const PlanCommand& command, const JobFile& job,
                                                 double now_s) {
  if (command.world || job.lease.calendar.empty()) {
    if (command.until.empty() && !command.budget) return std::optional<LeaseCalendar>();
    return error(Code::kUsage,
                 "--until and --budget are about a calendar: write lease.calendar into {}, and "
                 "leave --world out",
                 command.job_path);
  }
  LEASEHOLD_ASSIGN_OR_RETURN(LeaseCalendar calendar,
                             load_lease_calendar(posix_files(), job.lease.calendar, now_s));
  return std::optional(std::move(calendar));
}

Result<CalendarReport> report_calendar(const PlanCommand& command, const JobFile& job,
                                       const Hardware& hardware, const LeaseCalendar& calendar,
                                       double now_s) {
  CalendarReport report;
  report.calendar = job.lease.calendar;
  report.from_s = now_s;
  report.tokens_of_step = static_cast<double>(job.batch.sequences * job.model.sequence);
  report.target_tokens = command.tokens
                             ? static_cast<double>(*command.tokens)
                             : report.tokens_of_step * static_cast<double>(job.run.steps);
  LEASEHOLD_ASSIGN_OR_RETURN(const WalkEnd end, walk_end(command, calendar, now_s));
  report.ends = end.why;
  const double target_steps = report.target_tokens / report.tokens_of_step;
  const LeaseCalendar known = with_memory(calendar, hardware);
  LEASEHOLD_ASSIGN_OR_RETURN(
      report.walk, walk_one(command, job, hardware, known, now_s, end.at_s, target_steps));
  report.costs = lease_costs(known, report.walk, now_s);
  report.books = contract_books(known, now_s, counted_end_s(report.walk));
  if (command.budget && report.walk.steps <= 0) {
    return error(Code::kBadConfig,
                 "--budget {}: buys no step: the leases have cost it at {}, and until then none "
                 "is made; raise it, or end leases that begin before the job can use them",
                 *command.budget, utc_text(end.at_s));
  }
  if (!has_slips(known)) return report;
  for (const Delivery delivery : {Delivery::kPlanned, Delivery::kMedian, Delivery::kOneOfTen}) {
    LEASEHOLD_ASSIGN_OR_RETURN(const CalendarWalk walk,
                               walk_one(command, job, hardware, delivered(known, delivery, now_s),
                                        now_s, end.at_s, target_steps));
    report.late.push_back({delivery, walk.end_s, walk.steps, walk.reached_target});
  }
  return report;
}

}  // namespace leasehold
