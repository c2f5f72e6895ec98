#include "runtime/train/metrics.h"

#include <cmath>
#include <fmt/format.h>

#include "runtime/base/check.h"

namespace leasehold {

namespace {

// JSON has no NaN and no infinity; null is what pandas reads back as NaN.
std::string number(double value) {
  return std::isfinite(value) ? fmt::format("{:.17g}", value) : "null";
}

}  // namespace

std::string metrics_line(const StepMetrics& metrics) {
  return fmt::format(
      R"({{"step": {}, "tokens": {}, "loss": {}, "grad_norm": {}, "lr": {:.17g}, "step_time_s": {:.17g}, )"
      R"("tokens_per_s": {:.17g}, "world_size": {}, "generation": {}{}}})",
      metrics.step, metrics.tokens, number(metrics.loss), number(metrics.grad_norm), metrics.lr,
      metrics.step_time_s, metrics.tokens_per_s, metrics.world_size, metrics.generation,
      metrics.num_skipped > 0 ? fmt::format(", \"skipped\": {}", metrics.num_skipped) : "");
}

std::string with_validation_loss(const std::string& line, double validation_loss) {
  const size_t end = line.rfind('}');
  LEASEHOLD_CHECK(end != std::string::npos, "'{}' is no metrics line", line);
  return fmt::format("{}, \"validation_loss\": {}}}", line.substr(0, end), number(validation_loss));
}

}  // namespace leasehold
