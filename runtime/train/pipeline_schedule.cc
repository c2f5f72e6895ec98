#include "runtime/train/pipeline_schedule.h"

#include <algorithm>

#include "runtime/base/check.h"

namespace leasehold {

namespace {

// All of one pass in the order of a stage: microbatches in groups of num_stages, each group through
// every chunk before the next one begins. With one chunk that is plain order.
std::vector<PipelineAction> order_of(Pass pass, const PipelineShape& shape) {
  std::vector<PipelineAction> order;
  for (int64_t first = 0; first < shape.num_microbatches; first += shape.num_stages) {
    const int64_t end = std::min(shape.num_microbatches, first + shape.num_stages);
    for (int i = 0; i < shape.num_chunks; ++i) {
      const int chunk = pass == Pass::kForward ? i : shape.num_chunks - 1 - i;
      for (int64_t microbatch = first; microbatch < end; ++microbatch)
        order.push_back({pass, chunk, microbatch});
    }
  }
  return order;
}

// Forwards before the first backward.
int64_t warm_up(const PipelineShape& shape, int stage) {
  const int64_t behind = shape.num_stages - 1 - stage;
  if (shape.num_chunks == 1) return behind;
  return 2 * behind + int64_t{shape.num_chunks - 1} * shape.num_stages;
}

}  // namespace

std::vector<PipelineAction> make_schedule(PipelineSchedule schedule, const PipelineShape& shape,
                                          int stage) {
  LEASEHOLD_CHECK(0 <= stage && stage < shape.num_stages && shape.num_chunks >= 1 &&
                      shape.num_microbatches >= 0,
                  "stage {} of {}, {} chunks, {} microbatches", stage, shape.num_stages,
                  shape.num_chunks, shape.num_microbatches);
  // A last group that is not full would make interleaved stages wait for each other: schedule it
  // full, and leave out what does not exist.
  PipelineShape full = shape;
  if (shape.num_chunks > 1) {
    full.num_microbatches =
        (shape.num_microbatches + shape.num_stages - 1) / shape.num_stages * shape.num_stages;
  }
  const std::vector<PipelineAction> forwards = order_of(Pass::kForward, full);
  const std::vector<PipelineAction> backwards = order_of(Pass::kBackward, full);
  const auto count = static_cast<int64_t>(forwards.size());
  const int64_t ahead = schedule == PipelineSchedule::kGpipe ? count : warm_up(shape, stage);

  std::vector<PipelineAction> actions;
  for (int64_t i = 0; i < count + ahead; ++i) {
    if (i < count) actions.push_back(forwards[static_cast<size_t>(i)]);
    if (i >= ahead && i - ahead < count)
      actions.push_back(backwards[static_cast<size_t>(i - ahead)]);
  }
  std::erase_if(actions, [&](const PipelineAction& action) {
    return action.microbatch >= shape.num_microbatches;
  });
  return actions;
}

std::vector<int64_t> largest_in_flight(const std::vector<PipelineAction>& actions, int num_chunks) {
  std::vector<int64_t> now(static_cast<size_t>(num_chunks));
  std::vector<int64_t> largest(static_cast<size_t>(num_chunks));
  for (const PipelineAction& action : actions) {
    const auto chunk = static_cast<size_t>(action.chunk);
    now[chunk] += action.pass == Pass::kForward ? 1 : -1;
    largest[chunk] = std::max(largest[chunk], now[chunk]);
  }
  return largest;
}

double ideal_bubble(const PipelineShape& shape) {
  return static_cast<double>(shape.num_stages - 1) /
         static_cast<double>(shape.num_chunks * shape.num_microbatches);
}

}  // namespace leasehold
