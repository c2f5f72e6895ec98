// Which microbatches of a step each data rank computes, and how their losses become the step's.
// Pure.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/comm/lanes.h"
#include "runtime/train/gradients.h"

namespace leasehold {

class StepBatch {
 public:
  // `streamed`: microbatches go round the ranks (ZeRO 2 and 3); else a rank takes contiguous lanes.
  // kBadConfig with more ranks than lanes, or when streamed with fewer lanes than microbatches
  // under the canonical reduction.
  static Result<StepBatch> create(const BatchOptions& batch, int num_ranks, Reduction reduction,
                                  bool streamed);

  const BatchOptions& options() const { return batch_; }
  const std::vector<LaneRange>& lanes() const { return lanes_; }  // by rank; not when streamed
  // Indices of a rank's microbatches, ascending. When streamed every rank has as many: one of
  // num_microbatches or more stands for none, and is computed only to keep step.
  const std::vector<int64_t>& microbatches_of(int rank) const {
    return microbatches_[static_cast<size_t>(rank)];
  }

  // The mean over the step from each microbatch's mean: lanes in index order, then the tree.
  double mean_loss(std::span<const double> losses);

 private:
  BatchOptions batch_;
  std::vector<LaneRange> lanes_;
  std::vector<std::vector<int64_t>> microbatches_;
  std::vector<double> lane_losses_;
};

}  // namespace leasehold
