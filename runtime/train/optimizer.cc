#include "runtime/train/optimizer.h"

#include <algorithm>
#include <cmath>

namespace leasehold {

double learning_rate(const OptimizerOptions& options, int64_t step, int64_t steps) {
  if (step < options.warmup_steps) {
    return options.lr * static_cast<double>(step + 1) / static_cast<double>(options.warmup_steps);
  }
  const int64_t span = steps - options.warmup_steps;
  if (span <= 0) return options.lr;
  constexpr double kPi = 3.14159265358979323846;
  const double progress =
      std::min(1.0, static_cast<double>(step - options.warmup_steps) / static_cast<double>(span));
  return options.min_lr + 0.5 * (options.lr - options.min_lr) * (1.0 + std::cos(kPi * progress));
}

double clip_factor(const OptimizerOptions& options, double gradient_norm) {
  if (options.grad_clip <= 0) return 1.0;
  return std::min(1.0, options.grad_clip / (gradient_norm + 1e-6));
}

AdamWStep adamw_step(const OptimizerOptions& options, double lr, int64_t step, bool decay,
                     double gradient_scale, double clip) {
  const auto t = static_cast<double>(step + 1);
  AdamWStep result;
  result.lr = static_cast<float>(lr);
  result.beta1 = static_cast<float>(options.beta1);
  result.beta2 = static_cast<float>(options.beta2);
  result.eps = static_cast<float>(options.eps);
  result.weight_decay = decay ? static_cast<float>(options.weight_decay) : 0.0F;
  result.correction1 = static_cast<float>(1.0 - std::pow(options.beta1, t));
  result.correction2 = static_cast<float>(1.0 - std::pow(options.beta2, t));
  result.gradient_scale = static_cast<float>(gradient_scale);
  result.clip_scale = static_cast<float>(clip);
  return result;
}

}  // namespace leasehold
