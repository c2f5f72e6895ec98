#include "runtime/train/metrics.h"

#include <fmt/format.h>

#include "runtime/base/check.h"

namespace leasehold {

std::string metrics_line(const StepMetrics& metrics) {
  return fmt::format(
      R"({{"step": {}, "tokens": {}, "loss": {:.17g}, "grad_norm": {:.17g}, "lr": {:.17g}, "step_time_s": {:.17g}, )"
      R"("tokens_per_s": {:.17g}, "world_size": {}, "generation": {}}})",
      metrics.step, metrics.tokens, metrics.loss, metrics.grad_norm, metrics.lr,
      metrics.step_time_s, metrics.tokens_per_s, metrics.world_size, metrics.generation);
}

std::string with_validation_loss(const std::string& line, double validation_loss) {
  const size_t end = line.rfind('}');
  LEASEHOLD_CHECK(end != std::string::npos, "'{}' is no metrics line", line);
  return fmt::format("{}, \"validation_loss\": {:.17g}}}", line.substr(0, end), validation_loss);
}

}  // namespace leasehold
