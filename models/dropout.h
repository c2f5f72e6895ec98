// A site where a model drops elements: it has a name that is stable for ever, since the name
// addresses the random numbers (with the job's seed, the step and the microbatch), so that backward
// draws again what forward drew.
#pragma once

#include <string>

#include "runtime/module/module.h"

namespace leasehold {

class DropoutSite {
 public:
  DropoutSite(std::string name, double p) : name_(std::move(name)), p_(static_cast<float>(p)) {}

  // p is 0 outside training.
  Dropout at(const StepContext& context) const {
    if (p_ == 0 || !context.training) return {};
    const Microbatch& microbatch = context.microbatch;
    return {p_, RandomSite::make(context.seed, name_, microbatch.step, microbatch.index)};
  }
  bool never_drops() const { return p_ == 0; }

 private:
  std::string name_;
  float p_;
};

}  // namespace leasehold
