// The state that training carries from step to step for one part of a model: fp32 weights and AdamW
// moments, in flat memory, replicated or sharded over the data axis (ZeRO, Rajbhandari et al.,
// arXiv:1910.02054). Stage 0: every rank holds and updates everything. Stages 1 and 2: a rank holds
// the moments of its shard, updates that part of the weights, and gathers the rest. Stage 3: it
// holds its shard of the weights too, and units are gathered when they compute (Materializer).
//
// Where kernels compute in less than fp32, the weights that they compute with are a working copy of
// the masters: masters lie with the moments, sharded as they are; the working copy is rounded from
// them and is what travels between ranks. Checkpoints hold masters alone.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/checkpoint/state.h"
#include "runtime/comm/communicator.h"
#include "runtime/train/arenas.h"
#include "runtime/train/flat_layout.h"
#include "runtime/train/optimizer.h"

namespace leasehold {

// The box of a parameter that tensor rank `rank` holds, and whether that is a part of it.
Box box_of(const Parameter& parameter, int rank);
bool is_cut(const Parameter& parameter);

// Whether a rank, rather than another stage or tensor rank, stores a parameter and counts its
// gradient: the part with its first gradient slot does, and of uncut ones tensor rank 0.
bool stores_parameter(const Parameter& parameter, int tensor_rank);

class ModelState {
 public:
  // Allocates, and up to stage 2 binds the parameters' values. `tensor_rank` says which box of each
  // parameter this rank holds. References must outlive the object.
  ModelState(const FlatLayout& layout, ParameterTable& table, Communicator& group, int tensor_rank,
             Kernels& kernels, int zero_stage, Arenas& arenas);

  // Weights from their initialisers, drawn for (seed, name, element of the unsharded tensor);
  // moments zero. On the host; each rank draws its shard and the rest is gathered on `stream`.
  // Collective.
  void initialize(uint64_t seed, Stream& stream);
  // After the needed slices were loaded: takes up the host's copy, and gathers what this rank holds
  // of other ranks' shards: in stages 1 and 2 what modules compute with, in stage 0 the moments and
  // masters too. Collective, enqueued.
  void finish_load(Stream& stream);

  // Whether slices are views of pinned host memory, since the host cannot touch the state itself.
  // Then `download` copies the own shard there; else it does nothing. Enqueued.
  bool has_host_copy() const { return host_m_.present(); }
  void download(Stream& stream);

  // One AdamW step from the reduced gradients of the own shard. Stage 0 gathers them into
  // `value_buffer` first; stages 1 and 2 gather the new weights, as they are computed with, after.
  // Enqueued on `compute`; collective.
  void update(const OptimizerOptions& options, double lr, int64_t step, double gradient_scale,
              double clip, Tensor reduced_shard, Tensor value_buffer, Stream& compute);

  // Stage 3: this rank's weights, as they are computed with (num_shard_elements). Others: absent.
  Tensor value_shard() const { return values_are_sharded_ ? values_ : Tensor{}; }

  // What this rank writes into a checkpoint: its shard, which together with the others' covers
  // everything once.
  std::vector<StateSlice> owned_slices() const;
  // Returns what this rank must load from one: its shard of all that it holds (finish_load
  // follows).
  std::vector<StateSlice> needed_slices() const;

 private:
  std::vector<OwnedRange> whole_ranges() const;
  StateSlice slice_of(const OwnedRange& range, StateKind kind) const;
  // Of a bucket, and of a range: where weights lie that are computed with, and where the state lies
  // that is updated.
  Tensor own_values(const Bucket& bucket) const;
  Tensor values_of(const OwnedRange& range) const;
  Tensor weights_of(const OwnedRange& range) const;  // fp32
  Tensor state_of(Tensor state, const OwnedRange& range) const;
  void gather(Tensor whole, Stream& stream);
  Tensor own_part(Tensor state, const Bucket& bucket) const;
  // Rounds weights to what modules compute with, and gathers those but in stage 3.
  void gather_values(Stream& stream);
  void upload(Stream& stream);
  // The own shard on the device and its copy: calls copy(device, host) for each pair of flat
  // tensors.
  template <typename Copy>
  void for_each_copy(const Copy& copy) const;

  const FlatLayout& layout_;
  ParameterTable& table_;
  Communicator& group_;
  Kernels& kernels_;
  bool sharded_;
  bool values_are_sharded_;
  bool has_working_copy_;
  std::vector<Box> boxes_;  // of the parameters
  std::vector<bool> stores_;
  std::vector<OwnedRange> owned_;             // this rank's shard
  std::vector<OwnedRange> updated_;           // what this rank updates
  std::vector<AdamWTensors> update_tensors_;  // of update()'s call, kept for its memory
  Tensor values_;  // (num_value_elements), or (num_shard_elements) in stage 3
  // (num_shard_elements); absent where the host can touch the state.
  Tensor host_weights_, host_m_, host_v_;
  Tensor masters_, m_, v_;  // (num_shard_elements), or (num_value_elements) in stage 0; without a
                            // working copy masters_ is absent
};

}  // namespace leasehold
