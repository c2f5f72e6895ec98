// Tells what failures cost a run: the share of the time that makes steps. Pure.
#pragma once

#include <cstdint>
#include <vector>

namespace leasehold {

// Failures of a node of eight slots in 1000 days. Llama 3 had 3.8 on 16384 H100 (arXiv:2407.21783,
// table 5: 419 that nobody planned in 54 days), Meta's clusters of A100 2.3 and 6.5; of racks of 72
// nobody has published any. So plans show half and twice as many as well.
inline constexpr double kUsualFailures = 4;

struct FailureModel {
  double failures_of_node = kUsualFailures;  // in 1000 days
  double slots_of_node = 8;

  // Returns the failures a second of so many slots.
  double rate(int64_t slots) const;
};

// The cost of one failure: a start, and what was trained since the last state that is kept.
struct FailureCost {
  double restart_s = 0;
  double interval_s = 0;  // between two kept states: half of it is lost in the mean
};

// Returns the share of the time that makes steps, where failures come at `rate` a second,
// independent of each other. Of the time between two failures the restart u is lost, and what was
// trained since the last kept state; a restart may fail as well:
//   exp(-r u) r D / (exp(r D) - 1)   for an interval of D
// For small r this is Meta's ETTR without the stall of saves, 1 - r (u + D / 2).
double goodput(double rate, const FailureCost& cost);

// Returns the seconds between saves that cost `save_s` each, with which saves and lost steps
// together cost the least: sqrt(2 save_s / rate) (Young, CACM 17(9), 1974).
double best_interval_s(double rate, double save_s);

}  // namespace leasehold
