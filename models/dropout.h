// A site where a model drops elements. Its name never changes, since the name addresses the random
// numbers (with the job's seed, the step and the microbatch). So backward draws the same numbers as
// forward.
#pragma once

#include <string>

#include "runtime/module/module.h"

namespace leasehold {

class DropoutSite {
 public:
  DropoutSite(std::string name, double p) : name_(std::move(name)), p_(static_cast<float>(p)) {}

  // Returns the dropout of the context's microbatch; p is 0 outside training. `first_element` is
  // the place of the given tensor's first element in the unsharded tensor.
  Dropout at(const StepContext& context, int64_t first_element = 0) const {
    if (p_ == 0 || !context.training) return {};
    const Microbatch& microbatch = context.microbatch;
    return {p_, RandomSite::make(context.seed, name_, microbatch.step, microbatch.index),
            first_element};
  }
  bool never_drops() const { return p_ == 0; }

 private:
  std::string name_;
  float p_;
};

}  // namespace leasehold
