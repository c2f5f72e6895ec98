// Mean loss over the consecutive non-overlapping windows of a whole token file, in fixed groups of
// B windows (the last one padded), so that the result has the same bits for every layout.
#pragma once

#include <functional>
#include <memory>

#include "runtime/comm/mesh.h"
#include "runtime/train/batch_buffers.h"

namespace leasehold {

struct Evaluation {
  double mean_loss = 0;  // nats per target
  int64_t num_targets = 0;
  bool interrupted = false;  // a rank asked to stop: mean_loss says nothing
};

class Evaluator {
 public:
  // Enqueues the first `count` microbatches of a batch forward, for their losses. The last pipeline
  // stage has them.
  using ComputeLosses = std::function<void(int64_t count, const BatchBuffers& batch)>;

  // References must outlive the object.
  Evaluator(ComputeLosses compute, Mesh& mesh, int64_t B, int64_t T, Stream& compute_stream,
            Stream& host_stream, Arenas& arenas);

  // Collective over the mesh's world; data ranks take groups in turn. `stop_requested` is asked
  // between rounds; the ranks agree.
  Result<Evaluation> evaluate(const WindowLoader& loader, double timeout_s,
                              const std::function<bool()>& stop_requested);

 private:
  static constexpr int64_t kGroupsPerRound = 8;  // per data rank, between two questions to stop

  Status load(const WindowLoader& loader, int64_t first, int64_t count, int64_t num_groups);

  ComputeLosses compute_;
  Mesh& mesh_;
  int64_t B_;
  Stream& stream_;       // of the device
  Stream& host_stream_;  // of the CPU: for the world
  BatchBuffers batch_;
};

}  // namespace leasehold
