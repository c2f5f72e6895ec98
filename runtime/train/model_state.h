// The state that training carries from step to step: fp32 weights and AdamW moments, in flat
// memory, replicated or sharded over the data axis (ZeRO, Rajbhandari et al., arXiv:1910.02054).
// Stage 0: every rank holds and updates everything. Stage 1: a rank holds the moments of its shard,
// updates that part of the weights, and gathers the rest.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/checkpoint/state.h"
#include "runtime/comm/communicator.h"
#include "runtime/train/arenas.h"
#include "runtime/train/flat_layout.h"
#include "runtime/train/optimizer.h"

namespace leasehold {

class ModelState {
 public:
  // Allocates, and binds the parameters' values. References must outlive the object. zero_stage: 0
  // or 1.
  ModelState(const FlatLayout& layout, ParameterTable& table, Communicator& group, Kernels& kernels,
             int zero_stage, Arenas& arenas);

  // Weights from their initialisers, drawn for (seed, name, element of the unsharded tensor);
  // moments zero. On the host; each rank draws its shard and the rest is gathered on `stream`.
  // Collective.
  void initialize(const ParameterTable& table, uint64_t seed, Stream& stream);
  // Weights of the other ranks' shards (after loading own ones). Collective, enqueued.
  void gather_values(Stream& stream);

  // One AdamW step from the reduced gradients of the own shard. Stage 0 gathers them into
  // `value_buffer` first; stage 1 gathers the new weights after. Enqueued on `compute`; collective.
  void update(const OptimizerOptions& options, double lr, int64_t step, double gradient_scale,
              double clip, Tensor reduced_shard, Tensor value_buffer, Stream& compute);

  // What this rank writes into a checkpoint: its shard, which together with the others' covers
  // everything once.
  std::vector<StateSlice> owned_slices() const;
  // What this rank must load from one. Stage 1: its shard (gather_values follows); stage 0:
  // everything.
  std::vector<StateSlice> needed_slices() const;

 private:
  std::vector<OwnedRange> updated_ranges() const;
  std::vector<StateSlice> slices_of(const std::vector<OwnedRange>& ranges) const;
  int64_t moment_begin(const OwnedRange& range) const;

  const FlatLayout& layout_;
  Communicator& group_;
  Kernels& kernels_;
  bool sharded_;
  std::vector<Shape> shapes_;        // of the parameters, global
  std::vector<OwnedRange> owned_;    // this rank's shard
  std::vector<OwnedRange> updated_;  // what this rank updates
  Tensor values_;                    // (num_value_elements)
  Tensor m_, v_;                     // (num_shard_elements), or (num_value_elements) in stage 0
};

}  // namespace leasehold
