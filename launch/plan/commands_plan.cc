#include "launch/plan/commands_plan.h"

#include <algorithm>
#include <cstdio>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "launch/job_file.h"
#include "launch/plan/commands_plan_parts.h"
#include "launch/plan/plan_report.h"
#include "runtime/base/clock.h"

namespace leasehold {

namespace {

constexpr int64_t kMaxFileBytes = 64 << 20;

Result<PlannedWorld> world_of(const PlanCommand& command, const JobFile& job,
                              const std::optional<LeaseCalendar>& calendar, double now_s) {
  if (command.world) return PlannedWorld{*command.world, "--world"};
  if (calendar) return world_of_calendar(job, *calendar, now_s);
  return error(Code::kUsage,
               "--world is needed: {} names no calendar (lease.calendar) that would "
               "say how many ranks there are",
               command.job_path);
}

Result<Hardware> hardware_of_job(const PlanCommand& command, const JobFile& job) {
  if (!command.hardware.empty()) return plan_hardware(command.hardware);
  if (job.device.kind == "cpu") return shipped_hardware("CPU");
  return error(Code::kUsage,
               "--hardware is needed for device.kind = \"{}\": {}, or a file of "
               "another part's figures (docs/planning.md)",
               job.device.kind, fmt::join(shipped_hardware_names(), ", "));
}

void add_remarks(const JobFile& job, PlanReport& report) {
  if (!report.hardware.measured_here) {
    report.remarks.emplace_back(
        "Leasehold's own kernels have not been timed on this part: the band is 30% wide each way. "
        "The model is within 5% of 371 published steps of other programs (docs/planning.md)");
  }
  if (report.calendar) {
    report.remarks.push_back(fmt::format(
        "the calendar counts {:.0f} s for each start and for each save (2 launch.margin_s), no "
        "failures, and one part for all leases, with its memory where a lease names none",
        unmeasured_s(job)));
  }
  if (job.parallel.tensor > 1 || report.own.tensor > 1) return;
  report.remarks.emplace_back("a run keeps its tensor degree for ever; pipeline and ZeRO may change");
}

JobFailures failures_of(const JobFile& job) {
  const bool snapshots = job.checkpoint.snapshot != "off";
  return {.restart_s = unmeasured_s(job),
          .steps_of_interval = snapshots ? 1 : job.checkpoint.every_steps,
          .snapshots = snapshots,
          .save_s = unmeasured_s(job)};
}

Status plan_one_job(const PlanCommand& command) {
  const double now_s = system_clock().unix_s();
  LEASEHOLD_ASSIGN_OR_RETURN(const JobFile job,
                             load_job(posix_files(), command.job_path, command.overrides));
  LEASEHOLD_ASSIGN_OR_RETURN(const auto calendar, calendar_of(command, job, now_s));
  LEASEHOLD_ASSIGN_OR_RETURN(const Hardware hardware, hardware_of_job(command, job));
  LEASEHOLD_ASSIGN_OR_RETURN(const PlannedWorld world, world_of(command, job, calendar, now_s));
  PlanReport report;
  LEASEHOLD_ASSIGN_OR_RETURN(report.plan, plan_job(job, hardware, world.ranks));
  report.job_name = job.run.name;
  report.precision = job.device.precision;
  report.hardware = hardware;
  report.world = world.ranks;
  report.world_is = world.from;
  report.own = own_job_layout(job);
  report.failures = failures_of(job);
  report.tokens_of_step = static_cast<double>(job.batch.sequences * job.model.sequence);
  report.target_tokens = command.tokens
                             ? static_cast<double>(*command.tokens)
                             : report.tokens_of_step * static_cast<double>(job.run.steps);
  report.memory_limit_bytes =
      usable_memory_bytes(hardware) / (hardware.per_thread ? world.ranks : 1);
  if (calendar) {
    LEASEHOLD_ASSIGN_OR_RETURN(report.calendar,
                               report_calendar(command, job, hardware, *calendar, now_s));
  }
  LEASEHOLD_RETURN_IF_ERROR(add_memory(command, report));
  add_remarks(job, report);
  std::fputs((command.json ? plan_json(report) : plan_text(report)).c_str(), stdout);
  return ok_status();
}

}  // namespace

int64_t usable_memory_bytes(const Hardware& hardware) {
  constexpr double kUsable = 0.95;
  return static_cast<int64_t>(hardware.memory_bytes * kUsable);
}

Result<Hardware> plan_hardware(const std::string& name_or_path) {
  const bool is_path =
      name_or_path.ends_with(".toml") || name_or_path.find('/') != std::string::npos;
  if (!is_path) return shipped_hardware(name_or_path);
  LEASEHOLD_ASSIGN_OR_RETURN(const std::string text,
                             read_file(posix_files(), name_or_path, kMaxFileBytes));
  return parse_hardware(text, name_or_path);
}

Status run_plan(const PlanCommand& command, const Logger& logger) {
  const bool has_job = !command.job_path.empty();
  if (has_job == !command.rows.empty()) {
    return error(Code::kUsage, "plan: give a job file, or --rows FILE, one of the two");
  }
  if (has_job && !command.calibrate.empty()) {
    return error(Code::kUsage, "--calibrate: goes with --rows");
  }
  if (has_job) return plan_one_job(command);
  if (command.json || command.tokens || command.world || !command.overrides.empty() ||
      !command.until.empty() || command.budget) {
    return error(
        Code::kUsage,
        "--json, --tokens, --world, --until, --budget and --set go with a job file, not with "
        "--rows");
  }
  return plan_rows(command, logger);
}

}  // namespace leasehold
