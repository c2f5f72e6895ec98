#include "launch/plan/goodput.h"

#include <cmath>

namespace leasehold {

double FailureModel::rate(int64_t slots) const {
  constexpr double kThousandDaysS = 1000.0 * 86400;
  return failures_of_node / kThousandDaysS * static_cast<double>(slots) / slots_of_node;
}

double goodput(double rate, const FailureCost& cost) {
  const double of_interval = rate * cost.interval_s;
  const double kept = of_interval > 0 ? of_interval / std::expm1(of_interval) : 1;
  return std::exp(-rate * cost.restart_s) * kept;
}

double best_interval_s(double rate, double save_s) { return std::sqrt(2 * save_s / rate); }

}  // namespace leasehold
