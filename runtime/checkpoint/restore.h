// Where a run goes on: the newest step of which some tier has everything, with good digests.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runtime/checkpoint/durable.h"
#include "runtime/checkpoint/memory_restore.h"

namespace leasehold {

struct Restored {
  CheckpointHandle checkpoint;  // its path says where the state came from
  bool from_memory = false;
  // From memory: the digest of the long texts that checkpoint.info lacks, and the slots that hold
  // the snapshot, on all nodes.
  Digest128 texts;
  std::set<std::string> slots;
};

// Collective over `world`. Goes through the snapshots in the nodes' memory (when `memory` is given)
// and the checkpoints of run_dir, newest step first, memory before files at equal steps, to the
// first of which every rank can load its slices; a damaged one is passed over, and `rejected` says
// why (complete on rank 0). `accept` sees each candidate before its data is used (identity,
// parameters); its refusal is final and returned. Nothing when the run has none yet; kBadData, with
// all reasons, when it has some and none is good. A restore may take hours while its files move.
Result<std::optional<Restored>> restore_newest(
    FileWork& work, const std::string& run_dir, const std::optional<MemorySources>& memory,
    const std::function<Status(const CheckpointHandle&)>& accept,
    std::span<const StateSlice> wanted, Communicator& world, Stream& stream,
    std::vector<CheckpointRejected>& rejected);

// Collective. load_checkpoint() on every rank, each for its own slices.
Status load_together(FileWork& work, const CheckpointHandle& checkpoint,
                     std::span<const StateSlice> wanted, Communicator& world, Stream& stream);

}  // namespace leasehold
