// AdamW's settings and what of them one step needs. Pure.
#pragma once

#include <cstdint>

#include "runtime/tensor/kernels.h"

namespace leasehold {

struct OptimizerOptions {
  double lr = 0;
  double min_lr = 0;
  int64_t warmup_steps = 0;
  double weight_decay = 0;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
  double grad_clip = 0;  // 0: none
};

// Learning rate of step `step` (0-based) of `steps`: linear warm-up lr (step + 1) / warmup_steps,
// then a cosine from lr to min_lr: min_lr + (lr - min_lr) (1 + cos(pi (step - warmup) / (steps -
// warmup))) / 2 (Loshchilov and Hutter, arXiv:1608.03983, one cycle).
double learning_rate(const OptimizerOptions& options, int64_t step, int64_t steps);

// min(1, grad_clip / (norm + 1e-6)), as torch.nn.utils.clip_grad_norm_; 1 without clipping.
double clip_factor(const OptimizerOptions& options, double gradient_norm);

// Returns true when AdamW can use gradients of this norm: it is finite, and no element's square
// overflows the second moment's fp32, which would keep the parameter as it is for ever.
bool is_usable(const OptimizerOptions& options, double gradient_norm);

// The kernel's arguments of step `step` (0-based) for parameters with or without decay. Corrections
// in double.
AdamWStep adamw_step(const OptimizerOptions& options, double lr, int64_t step, bool decay,
                     double gradient_scale, double clip);

}  // namespace leasehold
