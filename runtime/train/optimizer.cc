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

bool is_usable(const OptimizerOptions& options, double gradient_norm) {
  // Less than the root of the largest float; no element is larger than the norm.
  constexpr double kMostGradient = 1.8e19;
  return std::isfinite(gradient_norm) &&
         gradient_norm * clip_factor(options, gradient_norm) <= kMostGradient;
}

AdamWStep adamw_step(const OptimizerOptions& options, double lr, int64_t step, bool decay,
                     double gradient_scale, double clip) {
  const auto t = static_cast<double>(step + 1);
  return {.lr = lr,
          .beta1 = options.beta1,
          .beta2 = options.beta2,
          .eps = options.eps,
          .weight_decay = decay ? options.weight_decay : 0.0,
          .correction1 = 1.0 - std::pow(options.beta1, t),
          .correction2 = 1.0 - std::pow(options.beta2, t),
          .gradient_scale = gradient_scale,
          .clip_scale = clip};
}

}  // namespace leasehold
