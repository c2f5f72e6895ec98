// Gradients in whole buffers (ZeRO 0 and 1). A rank computes its lanes in order, each into one
// buffer of the whole gradient space; complete lanes meet as the canonical tree demands; on the
// last microbatch each bucket goes to the communication stream as soon as the last gradient in it
// is there.
#pragma once

#include <memory>
#include <vector>

#include "runtime/comm/canonical_reduction.h"
#include "runtime/train/arenas.h"
#include "runtime/train/gradients.h"
#include "runtime/train/model_parts.h"
#include "runtime/train/streams.h"

namespace leasehold {

class LaneGradients : public Gradients {
 public:
  // `group` is the data axis, `own` this rank's lanes. `canonical` is null for the fast reduction
  // and with one rank. All references must outlive the object.
  LaneGradients(const ModelPart& part, const FlatLayout& layout, ParameterTable& table,
                Communicator& group, Kernels& kernels, const BatchOptions& batch,
                const LaneRange& own, CanonicalReduction* canonical, Reduction reduction,
                const Streams& streams, Arenas& arenas);

  Write begin_microbatch(int64_t i) override;
  void before_backward(int64_t) override {}
  void after_backward(int64_t unit) override;
  void end_microbatch() override;
  void finish() override;

  Tensor reduced_shard() const override { return reduced_.flat(0, layout_.num_shard_elements); }
  Tensor value_buffer() const override;

 private:
  struct LaneStep {
    int buffer = 0;
    std::vector<std::pair<int, int>> merges;  // after the lane is complete
  };

  void plan_lanes(const LaneRange& own, const BatchOptions& batch, Reduction reduction,
                  Arenas& arenas);
  void plan_buckets(const ModelPart& part);
  Tensor bucket_of(int buffer, const Bucket& bucket) const;
  void start_bucket(const Bucket& bucket);

  const FlatLayout& layout_;
  ParameterTable& table_;
  Communicator& group_;
  Kernels& kernels_;
  CanonicalReduction* canonical_;
  const Streams& streams_;

  int64_t num_microbatches_ = 0;  // of this rank
  int64_t microbatches_per_lane_ = 1;
  std::vector<LaneStep> lane_steps_;
  std::vector<int> root_buffers_;  // what is left after the last lane, left to right
  std::vector<Tensor> buffers_;    // each (num_gradient_elements)
  Tensor reduced_;                 // (num_all_shard_elements)

  // What a unit's backward makes ready: the buckets of its uses, one entry per use and bucket.
  std::vector<std::vector<int>> buckets_of_unit_;
  std::vector<int> uses_per_bucket_;
  std::vector<int> pending_;  // of the microbatch under way
  std::vector<Tensor> root_views_;
  int64_t current_ = 0;
};

}  // namespace leasehold
