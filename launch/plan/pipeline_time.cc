#include "launch/plan/pipeline_time.h"

#include <algorithm>

#include "runtime/base/check.h"

namespace leasehold {

namespace {

constexpr double kNotYet = -1;

// When each part has finished each microbatch, one way.
class Ends {
 public:
  Ends(int64_t num_parts, int64_t num_microbatches)
      : num_microbatches_(num_microbatches),
        ends_(static_cast<size_t>(num_parts * num_microbatches), kNotYet) {}
  double& at(int64_t part, int64_t microbatch) {
    return ends_[static_cast<size_t>(part * num_microbatches_ + microbatch)];
  }

 private:
  int64_t num_microbatches_;
  std::vector<double> ends_;
};

class Execution {
 public:
  Execution(PipelineSchedule schedule, const PipelineShape& shape,
            const std::vector<PartTime>& parts, double send_s)
      : parts_(parts),
        send_s_(send_s),
        num_stages_(shape.num_stages),
        forwards_(static_cast<int64_t>(parts.size()), shape.num_microbatches),
        backwards_(static_cast<int64_t>(parts.size()), shape.num_microbatches) {
    for (int stage = 0; stage < shape.num_stages; ++stage) {
      stages_.push_back({make_schedule(schedule, shape, stage), 0, 0});
    }
  }

  double run() {
    for (bool moved = true; moved;) {
      moved = false;
      for (int stage = 0; stage < num_stages_; ++stage) {
        while (perform_next(stage)) moved = true;
      }
    }
    double end_s = 0;
    for (const Stage& stage : stages_) {
      LEASEHOLD_CHECK(stage.next == stage.actions.size(), "a pipeline that waits for itself");
      end_s = std::max(end_s, stage.free_at_s);
    }
    return end_s;
  }

 private:
  struct Stage {
    std::vector<PipelineAction> actions;
    size_t next;
    double free_at_s;
  };

  // When the input of an action is there; kNotYet while what makes it has not run.
  double input_at_s(const PipelineAction& action, int64_t part) {
    const auto last = static_cast<int64_t>(parts_.size()) - 1;
    if (action.pass == Pass::kForward) {
      if (part == 0) return 0;
      const double end_s = forwards_.at(part - 1, action.microbatch);
      return end_s == kNotYet ? kNotYet : end_s + send_s_;
    }
    if (part == last) return forwards_.at(part, action.microbatch);
    const double end_s = backwards_.at(part + 1, action.microbatch);
    return end_s == kNotYet ? kNotYet : end_s + send_s_;
  }

  bool perform_next(int index) {
    Stage& stage = stages_[static_cast<size_t>(index)];
    if (stage.next == stage.actions.size()) return false;
    const PipelineAction& action = stage.actions[stage.next];
    const int64_t part = int64_t{action.chunk} * num_stages_ + index;
    const double input_s = input_at_s(action, part);
    if (input_s == kNotYet) return false;
    const PartTime& time = parts_[static_cast<size_t>(part)];
    const bool is_forward = action.pass == Pass::kForward;
    stage.free_at_s =
        std::max(stage.free_at_s, input_s) + (is_forward ? time.forward_s : time.backward_s);
    (is_forward ? forwards_ : backwards_).at(part, action.microbatch) = stage.free_at_s;
    ++stage.next;
    return true;
  }

  const std::vector<PartTime>& parts_;
  double send_s_;
  int num_stages_;
  Ends forwards_;
  Ends backwards_;
  std::vector<Stage> stages_;
};

}  // namespace

double pipeline_s(PipelineSchedule schedule, const PipelineShape& shape,
                  const std::vector<PartTime>& parts, double send_s) {
  LEASEHOLD_CHECK(static_cast<int>(parts.size()) == shape.num_stages * shape.num_chunks,
                  "{} parts for {} stages of {} chunks", parts.size(), shape.num_stages,
                  shape.num_chunks);
  return Execution(schedule, shape, parts, send_s).run();
}

}  // namespace leasehold
