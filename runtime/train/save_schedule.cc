#include "runtime/train/save_schedule.h"

#include <algorithm>

#include "runtime/base/check.h"
#include "runtime/checkpoint/save_interval.h"

namespace leasehold {

namespace {

constexpr int64_t kMaxDoublings = 6;  // of the steps between two tries

}  // namespace

void SaveSchedule::step_done(int64_t step, double step_time_s, double save_s) {
  LEASEHOLD_CHECK(step > step_, "step {} after step {}", step, step_);
  step_ = step;
  if (due(step_time_s, save_s)) owed_ = true;
}

bool SaveSchedule::due(double step_time_s, double save_s) const {
  for (const int64_t every : {options_.every_steps, options_.keep_every}) {
    if (every > 0 && step_ % every == 0) return true;
  }
  if (options_.mtbf_s <= 0 || !std::holds_alternative<Idle>(state_)) return false;
  // The first one soon: it measures what a save costs.
  if (!newest_begun_) return true;
  if (!(save_s > 0)) return false;
  const double since_s = static_cast<double>(step_ - *newest_begun_) * step_time_s;
  return since_s >= save_interval_s(save_s, options_.mtbf_s);
}

bool SaveSchedule::wanted() const {
  return std::holds_alternative<Idle>(state_) && owed_ && step_ >= not_before_;
}

void SaveSchedule::take() {
  LEASEHOLD_CHECK(std::holds_alternative<Idle>(state_), "a save begins while one is under way");
  state_ = Taking{step_};
  newest_begun_ = step_;
  owed_ = false;
}

void SaveSchedule::copied() {
  const std::optional<int64_t> step = taking();
  LEASEHOLD_CHECK(step.has_value(), "a copy ended that was not begun");
  state_ = Writing{*step};
}

void SaveSchedule::saved() {
  LEASEHOLD_CHECK(!std::holds_alternative<Idle>(state_), "a save ended that was not begun");
  state_ = Idle{};
  num_failed_ = 0;
  not_before_ = 0;
}

int64_t SaveSchedule::fail() {
  LEASEHOLD_CHECK(!std::holds_alternative<Idle>(state_), "a save failed that was not begun");
  state_ = Idle{};
  owed_ = true;
  not_before_ = step_ + (int64_t{1} << std::min(num_failed_, kMaxDoublings));
  ++num_failed_;
  return not_before_;
}

void SaveSchedule::drop() {
  LEASEHOLD_CHECK(taking().has_value(), "nothing to drop");
  state_ = Idle{};
  owed_ = true;
}

void SaveSchedule::saved_elsewhere() {
  LEASEHOLD_CHECK(std::holds_alternative<Idle>(state_), "saved elsewhere while one is under way");
  owed_ = false;
  num_failed_ = 0;
  not_before_ = 0;
  newest_begun_ = step_;
}

std::optional<int64_t> SaveSchedule::writing() const {
  const auto* const state = std::get_if<Writing>(&state_);
  return state != nullptr ? std::optional(state->step) : std::nullopt;
}

std::optional<int64_t> SaveSchedule::taking() const {
  const auto* const state = std::get_if<Taking>(&state_);
  return state != nullptr ? std::optional(state->step) : std::nullopt;
}

}  // namespace leasehold
