// The gradients of one part of a model, from the first microbatch to the reduced shard. Two ways:
// LaneGradients (ZeRO 0 and 1) keeps whole buffers and reduces at the end of the step;
// StreamedGradients (ZeRO 2 and 3) sends each unit's gradients to their owners as they are produced
// and keeps shards alone. The sum is the same: lanes in the canonical tree.
#pragma once

#include <cstdint>

#include "runtime/module/module.h"
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

class Gradients {
 public:
  virtual ~Gradients() = default;

  // Around the backward of this rank's microbatch number i, in order: binds the parameters'
  // gradients (streamed: around each unit), and says whether backward overwrites or adds to them.
  virtual Write begin_microbatch(int64_t i) = 0;
  virtual void before_backward(int64_t unit) = 0;  // of the part, from 0
  virtual void after_backward(int64_t unit) = 0;   // its gradients are enqueued
  virtual void end_microbatch() = 0;
  // After the last microbatch: what is enqueued on the compute stream later sees the reduced shard,
  // tied slots of this part added.
  virtual void finish() = 0;

  // The sum over all M microbatches, unscaled: (num_shard_elements), this rank's shard space.
  virtual Tensor reduced_shard() const = 0;
  // One whole buffer of value space (num_value_elements) that is free between finish() and the next
  // begin_microbatch(); absent when streamed. With one rank it holds the reduced gradients already.
  virtual Tensor value_buffer() const = 0;
};

// Adds the further local slots of tied parameters to the first ones. `reduced` is
// (num_all_shard_elements).
void add_tied_slots(const FlatLayout& layout, Kernels& kernels, Tensor reduced, Stream& stream);

}  // namespace leasehold
