// Part of commands_plan.h: what layouts need, asked of leasehold-train.
#include <algorithm>
#include <filesystem>
#include <fmt/format.h>

#include "launch/plan/commands_plan_parts.h"
#include "launch/supervisor/forecaster.h"
#include "runtime/base/clock.h"

namespace leasehold {

namespace {

constexpr double kPollS = 0.02;
constexpr size_t kLayoutsAsked = 6;  // of each tensor degree at once
constexpr size_t kLayoutsThatShallFit = 5;
constexpr size_t kMostAsked = 36;

// leasehold-train, which lies next to this program.
std::string train_program() {
  std::error_code failure;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", failure);
  return (self.parent_path() / "leasehold-train").string();
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

}  // namespace

Result<MemoryForecasts> ask_memory(const PlanCommand& command, int64_t tensor,
                                   const std::vector<LayoutOfWorld>& questions) {
  ForecastProgram program{.train_program = train_program(),
                          .job_path = command.job_path,
                          .overrides = command.overrides};
  program.overrides.push_back(fmt::format("parallel.tensor={}", tensor));
  const auto forecaster = make_forecaster(std::move(program));
  forecaster->ask(questions);
  for (;;) {
    if (auto answer = forecaster->take()) return std::move(*answer);
    system_clock().sleep_s(kPollS);
  }
}

Status add_memory(const PlanCommand& command, PlanReport& report) {
  const std::string train = train_program();
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
                               ask_memory(command, tensor, questions));
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

}  // namespace leasehold
