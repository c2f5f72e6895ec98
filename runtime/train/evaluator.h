// Mean loss over the consecutive non-overlapping windows of a whole token file, in fixed groups of
// B windows (the last one padded), so that the result has the same bits for every number of ranks.
#pragma once

#include <functional>
#include <memory>

#include "runtime/comm/communicator.h"
#include "runtime/module/module.h"
#include "runtime/train/batch_buffers.h"

namespace leasehold {

struct Evaluation {
  double mean_loss = 0;  // nats per target
  int64_t num_targets = 0;
  bool interrupted = false;  // a rank asked to stop: mean_loss says nothing
};

class Evaluator {
 public:
  // `saved` was prepared for (B, T) by `model`. References must outlive the object.
  Evaluator(Module& model, Saved& saved, Kernels& kernels, int64_t B, int64_t T, Stream& stream,
            Arenas& arenas);

  // Collective over `group`, whose ranks take groups in turn. `stop_requested` is asked between
  // rounds; the ranks agree.
  Result<Evaluation> evaluate(const WindowLoader& loader, Communicator& group, double timeout_s,
                              const std::function<bool()>& stop_requested);

 private:
  static constexpr int64_t kGroupsPerRound = 8;  // per rank, between two questions whether to stop

  Module& model_;
  Saved& saved_;
  Kernels& kernels_;
  int64_t B_;
  Stream& stream_;
  BatchBuffers batch_;
};

}  // namespace leasehold
