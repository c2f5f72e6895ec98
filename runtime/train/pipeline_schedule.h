// Which microbatch a pipeline stage computes when: GPipe (Huang et al., arXiv:1811.06965), 1F1B
// (Narayanan et al., "PipeDream-Flush" in arXiv:2006.09503) and 1F1B over several chunks of a stage
// (interleaved; Narayanan et al., arXiv:2104.04473, section 2.2). Pure.
//
// A model of num_stages * num_chunks parts in a row: part i is chunk i / num_stages of stage i %
// num_stages. Every schedule computes each chunk's forwards, and its backwards, in order of
// microbatches: that keeps the order in which gradients are summed.
#pragma once

#include <cstdint>
#include <vector>

namespace leasehold {

enum class PipelineSchedule { kGpipe, kOneForwardOneBackward };

enum class Pass { kForward, kBackward };

struct PipelineAction {
  Pass pass = Pass::kForward;
  int chunk = 0;
  int64_t microbatch = 0;  // counts those that this pipeline computes
  bool operator==(const PipelineAction&) const = default;
};

struct PipelineShape {
  int num_stages = 1;
  int num_chunks = 1;  // per stage
  int64_t num_microbatches = 1;
};

// What stage `stage` does, in order. Every microbatch passes every chunk forward and backward once.
std::vector<PipelineAction> make_schedule(PipelineSchedule schedule, const PipelineShape& shape,
                                          int stage);

// Per chunk the largest number of microbatches between their forward and the end of their backward:
// how many sets of activations the stage needs.
std::vector<int64_t> largest_in_flight(const std::vector<PipelineAction>& actions, int num_chunks);

// Idle share of a step against its compute time when every chunk takes equally long:
// (num_stages - 1) / (num_chunks * num_microbatches). Exact where num_stages divides the
// microbatches or num_chunks is 1.
double ideal_bubble(const PipelineShape& shape);

}  // namespace leasehold
