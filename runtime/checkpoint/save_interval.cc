#include "runtime/checkpoint/save_interval.h"

#include <algorithm>
#include <cmath>
#include <ctime>
#include <optional>
#include <string>

#include "runtime/checkpoint/json_lines.h"

namespace leasehold {

namespace {

constexpr double kDayS = 86400;

// Of "2026-11-21T21:53:57.123Z", whole seconds.
std::optional<double> parse_utc(const std::string& text) {
  std::tm parts{};
  if (::strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &parts) == nullptr) return std::nullopt;
  return static_cast<double>(::timegm(&parts));
}

}  // namespace

double mean_time_between_failures_s(const FailureHistory& history) {
  return (std::max(0.0, history.observed_s) + kDayS) /
         static_cast<double>(history.num_failures + 1);
}

double save_interval_s(double save_s, double mtbf_s) {
  return std::max(save_s, std::sqrt(2 * save_s * mtbf_s));
}

void FailureCounter::add(std::string_view line) {
  const auto event = member_text(line, "event");
  if (!event) return;
  // As written, with quotes.
  if (*event == "\"started\"") {
    ++num_started_;
    const auto time = member_text(line, "time");
    if (first_s_ < 0 && time && time->size() > 2)
      first_s_ = parse_utc(time->substr(1, time->size() - 2)).value_or(-1);
  } else if (*event == "\"drained\"" || *event == "\"finished\"") {
    ++num_ended_well_;
  }
}

FailureHistory FailureCounter::history(double now_s) const {
  return {.num_failures = std::max<int64_t>(0, num_started_ - num_ended_well_),
          .observed_s = first_s_ < 0 ? 0 : std::max(0.0, now_s - first_s_)};
}

}  // namespace leasehold
