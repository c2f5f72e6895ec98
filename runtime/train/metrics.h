// The line of metrics.jsonl that a step leaves behind.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "runtime/comm/communication_meter.h"

namespace leasehold {

struct StepMetrics {
  int64_t step = 0;    // optimizer steps done: the first step's line says 1
  int64_t tokens = 0;  // trained on so far
  double loss = 0;
  double grad_norm = 0;
  double lr = 0;
  double step_time_s = 0;
  double tokens_per_s = 0;
  int world_size = 0;
  int64_t generation = 0;
  // With optimizer.nonfinite = "skip": 0 when the step updated the weights, else how many in a row
  // did not, with this one.
  int64_t num_skipped = 0;
  std::optional<double>
      validation_loss;          // for who watches; the line gets it by with_validation_loss
  Communication communication;  // rank 0's; for who watches, not in the line
};

// One JSON object without newline and without the validation loss; floating numbers with 17
// significant digits, so that they are read back bit by bit. What is not finite is null. A step
// that changed no weights has "skipped".
std::string metrics_line(const StepMetrics& metrics);
// The same line with "validation_loss" added.
std::string with_validation_loss(const std::string& line, double validation_loss);

}  // namespace leasehold
