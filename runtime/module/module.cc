#include "runtime/module/module.h"

namespace leasehold {

void Module::forward(StepContext& context, Tensor input, Tensor output, Saved& saved) {
  if (is_unit_) context.hooks.before_forward(*this);
  do_forward(context, input, output, saved);
  if (is_unit_) context.hooks.after_forward(*this);
}

void Module::backward(StepContext& context, Tensor output_gradient, Tensor input_gradient,
                      Saved& saved) {
  if (is_unit_) context.hooks.before_backward(*this);
  do_backward(context, output_gradient, input_gradient, saved);
  if (is_unit_) context.hooks.after_backward(*this);
}

void Module::add_uses_of(const Module& submodule) {
  uses_.insert(uses_.end(), submodule.uses_.begin(), submodule.uses_.end());
}

}  // namespace leasehold
