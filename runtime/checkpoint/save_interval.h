// How often durable checkpoints are worth their cost.
#pragma once

#include <cstdint>
#include <string_view>

namespace leasehold {

// What a run has lived through, as its events tell.
struct FailureHistory {
  int64_t num_failures = 0;  // generations that ended neither drained nor finished
  double observed_s = 0;     // since the first began
};

// Mean time between failures, seconds, with one failure in a day assumed before any was observed:
// (observed + 1 day) / (failures + 1). Pure.
double mean_time_between_failures_s(const FailureHistory& history);

// Seconds between the begins of two saves that cost `save_s` each: sqrt(2 save_s mtbf_s) (Young
// 1974, first order of Daly 2006), at least save_s. Pure.
double save_interval_s(double save_s, double mtbf_s);

// Takes a run's history from the lines of its events.jsonl, in order.
class FailureCounter {
 public:
  // Lines that are no event are passed over.
  void add(std::string_view line);
  // At `now_s`, unix time, in a generation that is not in the log yet.
  FailureHistory history(double now_s) const;

 private:
  int64_t num_started_ = 0;
  int64_t num_ended_well_ = 0;
  double first_s_ = -1;
};

}  // namespace leasehold
