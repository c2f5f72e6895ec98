#include "launch/plan/calibration.h"

#include <cmath>

namespace leasehold {

namespace {

constexpr double kCountOfClass = 0.4;

Expectation around(double seconds, double width) {
  return {
      .seconds = seconds, .low_s = seconds * std::exp(-width), .high_s = seconds * std::exp(width)};
}

}  // namespace

bool is_known_part(const std::string& part) { return part == "A100-80" || part == "H100"; }

Expectation Calibration::expect(double modelled_s, const std::string& source,
                                const std::string& part, Precision precision) const {
  struct Sum {
    double log_ratios = 0;
    double count = 0;
    double factor() const { return std::exp(log_ratios / (count + kCountOfClass)); }
    void add(double log_ratio) {
      log_ratios += log_ratio;
      count += 1;
    }
  };
  Sum same_class;
  Sum same_precision;
  Sum same_part;
  for (const CalibrationRow& row : rows_) {
    if (row.part != part) continue;
    same_part.add(row.log_ratio);
    if (row.precision != precision) continue;
    same_precision.add(row.log_ratio);
    if (row.source == source) same_class.add(row.log_ratio);
  }
  const BandWidths widths;
  if (same_class.count > 0) return around(modelled_s * same_class.factor(), widths.calibrated);
  if (same_precision.count > 0) {
    return around(modelled_s * same_precision.factor(), widths.calibrated);
  }
  const double width = is_known_part(part) ? widths.known : widths.unknown;
  return around(modelled_s * same_part.factor(), width);
}

}  // namespace leasehold
