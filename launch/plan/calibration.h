// From what the model says to what is to be expected: factors from measured rows, and a band.
#pragma once

#include <span>
#include <vector>

#include "launch/plan/hardware.h"
#include "launch/plan/published_rows.h"

namespace leasehold {

// Seconds, and the band that holds the measured step in 80 of 100 cases.
struct Expectation {
  double seconds = 0;
  double low_s = 0;
  double high_s = 0;
};

// A measured row and what the model says of it.
struct CalibrationRow {
  std::string source;
  std::string part;  // Hardware::name
  Precision precision = Precision::kBf16;
  double log_ratio = 0;  // of measured by modelled
};

// Widths of the band, as the logarithm of its upper end by the middle.
struct BandWidths {
  double known = 0.08;       // parts whose rows the model was compared with
  double unknown = 0.12;     // other parts
  double calibrated = 0.06;  // with a row of the same part and precision
};

class Calibration {
 public:
  explicit Calibration(std::vector<CalibrationRow> rows) : rows_(std::move(rows)) {}

  // Scales by rows of the same part, precision and source; where there are none, of the same part
  // and precision; then of the same part. n rows count n / (n + 0.4): sources scatter by 5%
  // around their mean, means by 8%.
  Expectation expect(double modelled_s, const std::string& source, const std::string& part,
                     Precision precision) const;

 private:
  std::vector<CalibrationRow> rows_;
};

// Tells whether published rows of the part are in tests/launch/plan/published_rows.tsv.
bool is_known_part(const std::string& part);

}  // namespace leasehold
