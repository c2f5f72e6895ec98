// Gradients from the first microbatch to the reduced shard. A rank computes its lanes in order,
// each into one buffer of the whole gradient space; complete lanes meet as the canonical tree
// demands; on the last microbatch each bucket goes to the communication stream as soon as the last
// gradient in it is there.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "runtime/comm/canonical_reduction.h"
#include "runtime/module/module.h"
#include "runtime/train/arenas.h"
#include "runtime/train/flat_layout.h"

namespace leasehold {

enum class Reduction {
  kCanonical,  // one tree over the lanes, whatever the number of ranks: keeps every bit
  kFast,  // the library's reduce_scatter over the ranks' sums: bits depend on the number of ranks
};

struct BatchOptions {
  int64_t num_microbatches = 1;  // M, of the global batch
  int64_t num_lanes = 1;         // L, divides M
};

class Gradients : public UnitHooks {
 public:
  // `group` is the data axis. All references must outlive the object. kBadConfig when the group is
  // larger than L.
  static Result<std::unique_ptr<Gradients>> create(const FlatLayout& layout, ParameterTable& table,
                                                   Communicator& group, Kernels& kernels,
                                                   const BatchOptions& batch, Reduction reduction,
                                                   Stream& compute, Stream& communication,
                                                   Event& event, Arenas& arenas);
  ~Gradients() override;

  // The microbatches that this rank computes, ascending.
  const std::vector<int64_t>& microbatches() const { return microbatches_; }

  // Once per microbatch, i counting this rank's own: binds the parameters' gradients, and says
  // whether backward overwrites them or adds to them.
  Write begin_microbatch(size_t i);
  void end_microbatch();
  // After the last microbatch: what is enqueued on `compute` later sees the reduced shard.
  void finish();

  // The sum over all M microbatches, unscaled, tied slots added: (num_shard_elements), this rank's
  // shard space.
  Tensor reduced_shard() const { return reduced_.flat(0, layout_.num_shard_elements); }
  // One whole buffer of value space that is free between finish() and the next begin_microbatch().
  // With one rank it holds the reduced gradients already.
  Tensor value_buffer() const;

  void after_backward(Module& unit) override;

 private:
  struct LaneStep {
    int buffer = 0;
    std::vector<std::pair<int, int>> merges;  // after the lane is complete
  };

  Gradients(const FlatLayout& layout, ParameterTable& table, Communicator& group, Kernels& kernels,
            Stream& compute, Stream& communication, Event& event);
  void plan_lanes(const LaneRange& own, const BatchOptions& batch, Reduction reduction,
                  Arenas& arenas);
  void plan_buckets();
  Tensor bucket_of(int buffer, const Bucket& bucket) const;
  void start_bucket(const Bucket& bucket);
  void add_tied_slots();

  const FlatLayout& layout_;
  ParameterTable& table_;
  Communicator& group_;
  Kernels& kernels_;
  Stream& compute_;
  Stream& communication_;
  Event& event_;

  std::vector<int64_t> microbatches_;
  int64_t microbatches_per_lane_ = 1;
  std::vector<LaneStep> lane_steps_;
  std::vector<int> root_buffers_;  // what is left after the last lane, left to right
  std::vector<Tensor> buffers_;    // each (num_gradient_elements)
  Tensor reduced_;                 // (num_all_shard_elements)
  std::unique_ptr<CanonicalReduction> canonical_;  // null: fast, or one rank

  // What a unit's backward makes ready: per unit the buckets of its uses, one entry per use and
  // bucket.
  std::vector<int> uses_per_bucket_;
  std::vector<int> pending_;                                   // of the microbatch under way
  std::vector<std::vector<std::vector<int>>> buckets_of_use_;  // [parameter][slot]
  std::vector<Tensor> root_views_;
  size_t current_ = 0;
};

}  // namespace leasehold
