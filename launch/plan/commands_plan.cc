#include "launch/plan/commands_plan.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "launch/job_file.h"
#include "launch/leases/host_windows.h"
#include "launch/plan/calibration.h"
#include "launch/plan/plan_report.h"
#include "launch/plan/published_rows.h"
#include "launch/plan/step_time.h"
#include "launch/supervisor/forecaster.h"
#include "runtime/base/clock.h"

namespace leasehold {

namespace {

constexpr int64_t kMaxFileBytes = 64 << 20;
constexpr double kPollS = 0.02;
constexpr size_t kLayoutsAsked = 6;  // of each tensor degree at once
constexpr size_t kLayoutsThatShallFit = 5;
constexpr size_t kMostAsked = 36;
// Of a part's memory that the driver, libraries and fragments take.
constexpr double kUsableMemory = 0.95;

Result<Hardware> hardware_of(const std::string& name_or_path) {
  const bool is_path =
      name_or_path.ends_with(".toml") || name_or_path.find('/') != std::string::npos;
  if (!is_path) return shipped_hardware(name_or_path);
  LEASEHOLD_ASSIGN_OR_RETURN(const std::string text,
                             read_file(posix_files(), name_or_path, kMaxFileBytes));
  return parse_hardware(text, name_or_path);
}

// ---- rows

struct ModelledRow {
  const PublishedRow* row;
  std::string part;
  double seconds;
};

// The shipped part of a row, or the one of --hardware where it bears that name.
Result<Hardware> hardware_of_row(const PublishedRow& row, const std::optional<Hardware>& given) {
  if (given && (given->name == row.part ||
                std::find(given->also.begin(), given->also.end(), row.part) != given->also.end())) {
    return *given;
  }
  return shipped_hardware(row.part);
}

Result<ModelledRow> model_row(const PublishedRow& row, const std::optional<Hardware>& given) {
  LEASEHOLD_ASSIGN_OR_RETURN(const Hardware hardware, hardware_of_row(row, given));
  const std::string missing = missing_figures(row.question, hardware);
  if (!missing.empty()) return Status(Code::kBadConfig, missing);
  return ModelledRow{&row, hardware.name, step_time(row.question, hardware).total_s()};
}

Result<PublishedRows> load_rows(const std::string& path) {
  LEASEHOLD_ASSIGN_OR_RETURN(const std::string text, read_file(posix_files(), path, kMaxFileBytes));
  return parse_published_rows(text, path);
}

Result<Calibration> load_calibration(const std::string& path,
                                     const std::optional<Hardware>& given) {
  if (path.empty()) return Calibration({});
  LEASEHOLD_ASSIGN_OR_RETURN(const PublishedRows read, load_rows(path));
  if (!read.refused.empty()) return read.refused.front().status;
  std::vector<CalibrationRow> rows;
  for (const PublishedRow& row : read.rows) {
    const std::string where = fmt::format("{}:{}: {}", path, row.line, row.id);
    if (!row.step_s) {
      return error(Code::kBadData,
                   "{}: step_s and tok_s_gpu are both empty: to calibrate, a row "
                   "needs what was measured",
                   where);
    }
    const auto modelled = model_row(row, given);
    if (!modelled.ok()) return Status(Code::kBadData, modelled.status().annotated(where).message());
    rows.push_back({row.source, modelled->part, row.question.precision,
                    std::log(*row.step_s / modelled->seconds)});
  }
  if (rows.empty()) return error(Code::kBadData, "{}: holds no row", path);
  return Calibration(std::move(rows));
}

Status plan_rows(const PlanCommand& command, const Logger& logger) {
  std::optional<Hardware> given;
  if (!command.hardware.empty()) {
    LEASEHOLD_ASSIGN_OR_RETURN(given, hardware_of(command.hardware));
  }
  LEASEHOLD_ASSIGN_OR_RETURN(const PublishedRows read, load_rows(command.rows));
  LEASEHOLD_ASSIGN_OR_RETURN(const Calibration calibration,
                             load_calibration(command.calibrate, given));
  std::vector<std::string> refused;
  for (const RefusedRow& row : read.refused) refused.push_back(row.status.message());
  for (const PublishedRow& row : read.rows) {
    const std::string where = fmt::format("{}:{}: {}", command.rows, row.line, row.id);
    const auto modelled = model_row(row, given);
    if (!modelled.ok()) {
      refused.push_back(modelled.status().annotated(where).message());
      continue;
    }
    for (const std::string& notice : row.notices) logger.warning("{}: {}", where, notice);
    const Expectation step =
        calibration.expect(modelled->seconds, row.source, modelled->part, row.question.precision);
    fmt::print("{}\t{:.6g}\t{:.6g}\t{:.6g}\n", row.id, step.seconds, step.low_s, step.high_s);
  }
  std::fflush(stdout);
  for (const std::string& why : refused) logger.error("{}", why);
  if (refused.empty()) return ok_status();
  return error(Code::kBadData, "{}: {} of {} rows could not be predicted, see above", command.rows,
               refused.size(), read.rows.size() + read.refused.size());
}

// ---- a job

struct World {
  int64_t ranks = 1;
  std::string from;
};

// The most slots that the calendar's leases have at once, from now on.
Result<World> world_of_calendar(const JobFile& job) {
  const double now_s = system_clock().unix_s();
  LEASEHOLD_ASSIGN_OR_RETURN(const LeaseCalendar calendar,
                             load_lease_calendar(posix_files(), job.lease.calendar, now_s));
  World most{.ranks = 0, .from = fmt::format("the most that {} has at once", job.lease.calendar)};
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

Result<World> world_of(const PlanCommand& command, const JobFile& job) {
  if (command.world) return World{*command.world, "--world"};
  if (!job.lease.calendar.empty()) return world_of_calendar(job);
  return error(Code::kUsage,
               "--world is needed: {} names no calendar (lease.calendar) that would "
               "say how many ranks there are",
               command.job_path);
}

Result<Hardware> hardware_of_job(const PlanCommand& command, const JobFile& job) {
  if (!command.hardware.empty()) return hardware_of(command.hardware);
  if (job.device.kind == "cpu") return shipped_hardware("CPU");
  return error(Code::kUsage,
               "--hardware is needed for device.kind = \"{}\": {}, or a file of "
               "another part's figures (docs/planning.md)",
               job.device.kind, fmt::join(shipped_hardware_names(), ", "));
}

// Asks leasehold-train what layouts of one tensor degree need.
Result<MemoryForecasts> forecast(const PlanCommand& command, const std::string& train_program,
                                 int64_t tensor, const std::vector<LayoutOfWorld>& questions) {
  ForecastProgram program{
      .train_program = train_program, .job_path = command.job_path, .overrides = command.overrides};
  program.overrides.push_back(fmt::format("parallel.tensor={}", tensor));
  const auto forecaster = make_forecaster(std::move(program));
  forecaster->ask(questions);
  for (;;) {
    if (auto answer = forecaster->take()) return std::move(*answer);
    system_clock().sleep_s(kPollS);
  }
}

// The next layouts whose memory to ask for, of one tensor degree: the job's own first, then the
// fastest.
std::vector<const PlannedLayout*> next_to_ask(const PlanReport& report) {
  std::vector<const PlannedLayout*> next;
  const auto consider = [&](const PlannedLayout& planned) {
    if (report.memory.contains(planned.layout) || next.size() == kLayoutsAsked) return;
    if (!next.empty() && next.front()->layout.tensor != planned.layout.tensor) return;
    if (std::find(next.begin(), next.end(), &planned) == next.end()) next.push_back(&planned);
  };
  for (const PlannedLayout& planned : report.plan.layouts) {
    if (planned.layout == report.own) consider(planned);
  }
  for (const PlannedLayout& planned : report.plan.layouts) consider(planned);
  return next;
}

bool enough_fit(const PlanReport& report) {
  size_t fitting = 0;
  for (const auto& [layout, bytes] : report.memory) fitting += bytes <= report.memory_limit_bytes;
  return fitting >= kLayoutsThatShallFit || report.memory.size() >= kMostAsked;
}

// Layouts that nobody asked about are not ranked: they are slower than those that were.
void leave_out_unknown(PlanReport& report) {
  std::erase_if(report.plan.layouts, [&](const PlannedLayout& planned) {
    return !report.memory.contains(planned.layout);
  });
}

Status add_memory(const PlanCommand& command, PlanReport& report) {
  std::error_code failure;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", failure);
  const std::string train = (self.parent_path() / "leasehold-train").string();
  if (!std::filesystem::exists(train)) {
    report.no_memory = fmt::format("there is no {}, which forecasts it", train);
    return ok_status();
  }
  while (!enough_fit(report)) {
    const auto asked = next_to_ask(report);
    if (asked.empty()) break;
    std::vector<LayoutOfWorld> questions;
    for (const PlannedLayout* planned : asked) {
      questions.push_back({planned->ranks, planned->layout.layout});
    }
    const int64_t tensor = asked.front()->layout.tensor;
    LEASEHOLD_ASSIGN_OR_RETURN(const MemoryForecasts forecasts,
                               forecast(command, train, tensor, questions));
    for (const auto& [of, bytes] : forecasts) report.memory[{tensor, of.layout}] = bytes;
  }
  const size_t weighed = report.plan.layouts.size();
  leave_out_unknown(report);
  if (weighed > report.plan.layouts.size()) {
    report.remarks.push_back(
        fmt::format("{} further layouts are slower than those ranked and "
                    "were not asked for their memory",
                    weighed - report.plan.layouts.size()));
  }
  if (!layouts_that_fit(report).empty()) return ok_status();
  const auto least =
      std::min_element(report.memory.begin(), report.memory.end(),
                       [](const auto& a, const auto& b) { return a.second < b.second; });
  return error(Code::kBadConfig,
               "no layout of {} ranks fits into {}'s {}: {} needs the least, {}; "
               "take more ranks, parallel.recompute = \"block\", a smaller batch.microbatch, or a "
               "part with more memory",
               report.world, report.hardware.name, memory_in_words(report.memory_limit_bytes),
               in_words(least->first), memory_in_words(least->second));
}

void add_remarks(const JobFile& job, PlanReport& report) {
  if (!report.hardware.measured_here) {
    report.remarks.push_back(
        "Leasehold's own kernels have not been timed on this part: the band is 30% wide each way. "
        "The model is within 5% of 371 published steps of other programs (docs/planning.md)");
  }
  if (job.parallel.tensor > 1 || report.own.tensor > 1) return;
  report.remarks.push_back("a run keeps its tensor degree for ever; pipeline and ZeRO may change");
}

Status plan_one_job(const PlanCommand& command) {
  LEASEHOLD_ASSIGN_OR_RETURN(const JobFile job,
                             load_job(posix_files(), command.job_path, command.overrides));
  LEASEHOLD_ASSIGN_OR_RETURN(const Hardware hardware, hardware_of_job(command, job));
  LEASEHOLD_ASSIGN_OR_RETURN(const World world, world_of(command, job));
  PlanReport report;
  LEASEHOLD_ASSIGN_OR_RETURN(report.plan, plan_job(job, hardware, world.ranks));
  report.job_name = job.run.name;
  report.precision = job.device.precision;
  report.hardware = hardware;
  report.world = world.ranks;
  report.world_is = world.from;
  report.own = own_job_layout(job);
  report.tokens_of_step = static_cast<double>(job.batch.sequences * job.model.sequence);
  report.target_tokens = command.tokens
                             ? static_cast<double>(*command.tokens)
                             : report.tokens_of_step * static_cast<double>(job.run.steps);
  const double ranks_sharing = hardware.per_thread ? static_cast<double>(world.ranks) : 1;
  report.memory_limit_bytes =
      static_cast<int64_t>(hardware.memory_bytes * kUsableMemory / ranks_sharing);
  LEASEHOLD_RETURN_IF_ERROR(add_memory(command, report));
  add_remarks(job, report);
  std::fputs((command.json ? plan_json(report) : plan_text(report)).c_str(), stdout);
  return ok_status();
}

}  // namespace

Status run_plan(const PlanCommand& command, const Logger& logger) {
  const bool has_job = !command.job_path.empty();
  if (has_job == !command.rows.empty()) {
    return error(Code::kUsage, "plan: give a job file, or --rows FILE, one of the two");
  }
  if (has_job && !command.calibrate.empty()) {
    return error(Code::kUsage, "--calibrate: goes with --rows");
  }
  if (has_job) return plan_one_job(command);
  if (command.json || command.tokens || command.world || !command.overrides.empty()) {
    return error(Code::kUsage,
                 "--json, --tokens, --world and --set go with a job file, not with "
                 "--rows");
  }
  return plan_rows(command, logger);
}

}  // namespace leasehold
