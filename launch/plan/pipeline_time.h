// Tells how long a pipeline of unequal parts takes: Leasehold's own schedules
// (runtime/train/pipeline_schedule.h), executed symbolically.
#pragma once

#include <vector>

#include "runtime/train/pipeline_schedule.h"

namespace leasehold {

// One part of the model: chunk i / num_stages of stage i % num_stages for part i.
struct PartTime {
  double forward_s = 0;
  double backward_s = 0;
};

// Returns the seconds from the first action to the last. `parts` has num_stages * num_chunks
// members. An action begins when its stage is free and its input has been there for `send_s`.
double pipeline_s(PipelineSchedule schedule, const PipelineShape& shape,
                  const std::vector<PartTime>& parts, double send_s);

}  // namespace leasehold
