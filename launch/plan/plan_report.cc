#include "launch/plan/plan_report.h"

#include <algorithm>
#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace leasehold {

namespace {

constexpr size_t kRankedInText = 5;
constexpr size_t kRejectedInText = 8;

bool fits(const PlanReport& report, const JobLayout& layout) {
  const auto memory = report.memory.find(layout);
  return memory == report.memory.end() || memory->second <= report.memory_limit_bytes;
}

std::string memory_words(const PlanReport& report, const JobLayout& layout) {
  const auto memory = report.memory.find(layout);
  return memory == report.memory.end() ? "not asked" : memory_in_words(memory->second);
}

std::string duration_words(double seconds) {
  if (seconds < 120) return fmt::format("{:.3g} s", seconds);
  if (seconds < 7200) return fmt::format("{:.1f} min", seconds / 60);
  if (seconds < 48 * 3600) return fmt::format("{:.1f} h", seconds / 3600);
  return fmt::format("{:.1f} days", seconds / 86400);
}

double steps_to_target(const PlanReport& report) {
  return report.target_tokens / report.tokens_of_step;
}

// The plan's own layout when it was weighed and fits, else the fastest one that fits.
const PlannedLayout* chosen(const PlanReport& report) {
  const auto fitting = layouts_that_fit(report);
  for (const PlannedLayout* planned : fitting) {
    if (planned->layout == report.own) return planned;
  }
  return fitting.empty() ? nullptr : fitting.front();
}

std::string step_text(const PlanReport& report, const PlannedLayout& planned) {
  const Expectation& step = planned.step;
  std::string text =
      fmt::format("step        {:.4g} s, 80% band {:.4g} to {:.4g} s; {:.4g} tokens/s\n",
                  step.seconds, step.low_s, step.high_s, report.tokens_of_step / step.seconds);
  for (size_t i = 0; i < kNumTerms; ++i) {
    const double seconds = planned.time.seconds[i];
    if (seconds < 5e-4 * step.seconds) continue;
    const TermWords& words = words_of(static_cast<Term>(i));
    text += fmt::format("  {:<12} {:>10.4g} s {:>5.1f}%  {} [{}]\n", words.key, seconds,
                        100 * seconds / step.seconds, words.meaning, words.source);
  }
  return text;
}

std::string target_text(const PlanReport& report, const PlannedLayout& planned) {
  const double steps = steps_to_target(report);
  const Expectation& step = planned.step;
  return fmt::format(
      "target      {:.4g} tokens in {:.0f} steps: {}, 80% band {} to {}; no failure, "
      "start or lease end is counted\n",
      report.target_tokens, steps, duration_words(steps * step.seconds),
      duration_words(steps * step.low_s), duration_words(steps * step.high_s));
}

std::string goodput_text(const PlanReport& report, const PlannedLayout& planned) {
  const JobFailures& failures = report.failures;
  const double usual = goodput_of(report, planned, kUsualFailures);
  const double seconds = steps_to_target(report) * planned.step.seconds;
  std::string text = fmt::format(
      "goodput     {:.2f}% at {} failures of a node of 8 slots in 1000 days ({:.2f}% at {}, "
      "{:.2f}% "
      "at {}); the target then takes {}\n",
      100 * usual, kUsualFailures, 100 * goodput_of(report, planned, kUsualFailures / 2),
      kUsualFailures / 2, 100 * goodput_of(report, planned, 2 * kUsualFailures), 2 * kUsualFailures,
      duration_words(seconds / usual));
  const std::string lost =
      failures.steps_of_interval == 0
          ? "half of what was trained: nothing is kept before the end (checkpoint.every_steps = 0)"
          : fmt::format("half of {} step{}", failures.steps_of_interval,
                        failures.steps_of_interval == 1 ? ", as snapshots keep each" : "s");
  text += fmt::format("            a failure costs {:.0f} s to start again, and {}\n",
                      failures.restart_s, lost);
  if (failures.snapshots) return text;
  const double rate = FailureModel{}.rate(planned.ranks);
  const double best = best_interval_s(rate, failures.save_s) / planned.step.seconds;
  return text + fmt::format(
                    "            without snapshots, checkpoint.every_steps = {:.0f} costs the "
                    "least for saves of {:.0f} s\n",
                    std::max(1.0, best), failures.save_s);
}

std::string memory_text(const PlanReport& report, const PlannedLayout& planned) {
  if (!report.no_memory.empty())
    return fmt::format("memory      not known: {}\n", report.no_memory);
  return fmt::format("memory      {} of {} on the fullest rank, as leasehold-train forecasts it\n",
                     memory_words(report, planned.layout),
                     memory_in_words(report.memory_limit_bytes));
}

std::string ranked_text(const PlanReport& report) {
  const auto fitting = layouts_that_fit(report);
  std::string text = "layouts, fastest first\n";
  for (size_t i = 0; i < fitting.size(); ++i) {
    const PlannedLayout& planned = *fitting[i];
    const bool is_own = planned.layout == report.own;
    if (i >= kRankedInText && !is_own) continue;
    const double slower = planned.step.seconds / fitting.front()->step.seconds - 1;
    const std::string against = i == 0 ? "fastest" : fmt::format("{:.1f}% slower", 100 * slower);
    const std::string idle =
        planned.ranks == report.world
            ? ""
            : fmt::format("; {} ranks have nothing to do", report.world - planned.ranks);
    text += fmt::format("  {:>3}  {:<44} {:>9.4g} s  {:<13} {}{}{}\n", i + 1,
                        in_words(planned.layout), planned.step.seconds, against,
                        report.no_memory.empty() ? memory_words(report, planned.layout) : "", idle,
                        is_own ? "  <- the job's" : "");
  }
  return text;
}

// Why each layout that was not ranked was left out.
std::vector<RefusedLayout> rejected(const PlanReport& report) {
  std::vector<RefusedLayout> all;
  for (const PlannedLayout& planned : report.plan.layouts) {
    if (fits(report, planned.layout)) continue;
    const int64_t lacking = report.memory.at(planned.layout) - report.memory_limit_bytes;
    all.push_back({planned.layout, fmt::format("a rank needs {}, {} more than there is",
                                               memory_in_words(report.memory.at(planned.layout)),
                                               memory_in_words(lacking))});
  }
  all.insert(all.end(), report.plan.refused.begin(), report.plan.refused.end());
  return all;
}

std::string rejected_text(const PlanReport& report) {
  const std::vector<RefusedLayout> all = rejected(report);
  if (all.empty()) return {};
  std::string text = fmt::format("rejected    {} layouts{}\n", all.size(),
                                 all.size() > kRejectedInText ? "; --json has all" : "");
  for (size_t i = 0; i < std::min(all.size(), kRejectedInText); ++i) {
    text += fmt::format("  {}: {}\n", in_words(all[i].layout), all[i].why);
  }
  return text;
}

nlohmann::ordered_json layout_json(const JobLayout& layout) {
  return {{"tensor", layout.tensor},
          {"pipeline", layout.layout.pipeline},
          {"chunks", layout.layout.chunks},
          {"zero", layout.layout.zero}};
}

nlohmann::ordered_json planned_json(const PlanReport& report, const PlannedLayout& planned) {
  nlohmann::ordered_json json = layout_json(planned.layout);
  json["ranks"] = planned.ranks;
  json["step_s"] = planned.step.seconds;
  json["low_s"] = planned.step.low_s;
  json["high_s"] = planned.step.high_s;
  const auto memory = report.memory.find(planned.layout);
  json["memory_bytes"] = memory == report.memory.end() ? nlohmann::ordered_json(nullptr)
                                                       : nlohmann::ordered_json(memory->second);
  return json;
}

}  // namespace

double goodput_of(const PlanReport& report, const PlannedLayout& planned, double failures_of_node) {
  const double steps = report.failures.steps_of_interval == 0
                           ? steps_to_target(report)
                           : static_cast<double>(report.failures.steps_of_interval);
  return goodput(
      FailureModel{.failures_of_node = failures_of_node}.rate(planned.ranks),
      {.restart_s = report.failures.restart_s, .interval_s = steps * planned.step.seconds});
}

std::vector<const PlannedLayout*> layouts_that_fit(const PlanReport& report) {
  std::vector<const PlannedLayout*> fitting;
  for (const PlannedLayout& planned : report.plan.layouts) {
    if (fits(report, planned.layout)) fitting.push_back(&planned);
  }
  return fitting;
}

std::string plan_text(const PlanReport& report) {
  const PlannedLayout& planned = *chosen(report);
  std::string text =
      fmt::format("job         {} on {} x {} in {} ({})\n", report.job_name, report.world,
                  report.hardware.name, report.precision, report.world_is);
  text +=
      fmt::format("layout      {}{}\n", in_words(planned.layout),
                  planned.layout == report.own ? ", the job's own"
                                               : "; the job's own cannot train here, see rejected");
  text += step_text(report, planned) + memory_text(report, planned) + target_text(report, planned) +
          goodput_text(report, planned);
  text += ranked_text(report) + rejected_text(report);
  if (report.calendar) text += calendar_text(*report.calendar);
  for (const std::string& remark : report.remarks) text += fmt::format("note        {}\n", remark);
  return text;
}

std::string plan_json(const PlanReport& report) {
  const PlannedLayout& planned = *chosen(report);
  nlohmann::ordered_json json = {{"job", report.job_name},
                                 {"hardware", report.hardware.name},
                                 {"precision", report.precision},
                                 {"world", report.world},
                                 {"tokens_per_step", report.tokens_of_step},
                                 {"target_tokens", report.target_tokens},
                                 {"target_s", steps_to_target(report) * planned.step.seconds}};
  json["layout"] = planned_json(report, planned);
  for (size_t i = 0; i < kNumTerms; ++i) {
    const TermWords& words = words_of(static_cast<Term>(i));
    json["terms"].push_back({{"name", words.key},
                             {"seconds", planned.time.seconds[i]},
                             {"meaning", words.meaning},
                             {"source", words.source}});
  }
  json["goodput"] = nlohmann::ordered_json::array();
  for (const double failures : {kUsualFailures / 2, kUsualFailures, 2 * kUsualFailures}) {
    json["goodput"].push_back({{"failures_of_node_in_1000_days", failures},
                               {"share", goodput_of(report, planned, failures)}});
  }
  json["memory_limit_bytes"] = report.memory_limit_bytes;
  json["layouts"] = nlohmann::ordered_json::array();
  for (const PlannedLayout* one : layouts_that_fit(report)) {
    json["layouts"].push_back(planned_json(report, *one));
  }
  json["rejected"] = nlohmann::ordered_json::array();
  for (const RefusedLayout& one : rejected(report)) {
    nlohmann::ordered_json of = layout_json(one.layout);
    of["why"] = one.why;
    json["rejected"].push_back(std::move(of));
  }
  if (report.calendar) json["calendar"] = calendar_json(*report.calendar);
  json["notes"] = report.remarks;
  return json.dump(2) + "\n";
}

}  // namespace leasehold
