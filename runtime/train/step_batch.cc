#include "runtime/train/step_batch.h"

#include <algorithm>

#include "runtime/comm/tree.h"

namespace leasehold {

Result<StepBatch> StepBatch::create(const BatchOptions& batch, int num_ranks, Reduction reduction,
                                    bool streamed) {
  StepBatch made;
  made.batch_ = batch;
  LEASEHOLD_ASSIGN_OR_RETURN(made.lanes_, assign_lanes(batch.num_lanes, num_ranks));
  if (streamed && reduction == Reduction::kCanonical && batch.num_lanes != batch.num_microbatches) {
    return error(Code::kBadConfig,
                 "parallel.zero = 2 and 3 send each microbatch's gradients away as they are "
                 "produced, which needs batch.lanes = {} (the number of microbatches) instead of "
                 "{}; or write parallel.zero = 1, or parallel.reduction = \"fast\"",
                 batch.num_microbatches, batch.num_lanes);
  }
  const int64_t per_lane = batch.num_microbatches / batch.num_lanes;
  for (int rank = 0; rank < num_ranks; ++rank) {
    std::vector<int64_t>& own = made.microbatches_.emplace_back();
    if (streamed) {
      for (int64_t first = 0; first < batch.num_microbatches; first += num_ranks)
        own.push_back(first + rank);
    } else {
      const LaneRange& range = made.lanes_[static_cast<size_t>(rank)];
      for (int64_t i = range.begin * per_lane; i < range.end * per_lane; ++i) own.push_back(i);
    }
  }
  made.lane_losses_.resize(static_cast<size_t>(batch.num_lanes));
  return made;
}

double StepBatch::mean_loss(std::span<const double> losses) {
  const auto per_lane = static_cast<size_t>(batch_.num_microbatches / batch_.num_lanes);
  for (size_t lane = 0; lane < lane_losses_.size(); ++lane) {
    double sum = losses[lane * per_lane];
    for (size_t i = 1; i < per_lane; ++i) sum += losses[lane * per_lane + i];
    lane_losses_[lane] = sum;
  }
  return tree_sum(lane_losses_) * (1.0 / static_cast<double>(batch_.num_microbatches));
}

}  // namespace leasehold
