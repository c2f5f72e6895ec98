// Loads a state from snapshots that lie in the memory of several nodes, onto any number of ranks.
#pragma once

#include <functional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "runtime/checkpoint/durable.h"
#include "runtime/checkpoint/memory_inventory.h"

namespace leasehold {

struct RestoredSnapshot {
  CheckpointHandle handle;  // its info has no long texts
  Digest128 texts;          // of those
  // All slots of the candidate, on all nodes: what must stay until another snapshot is whole.
  std::set<std::string> slots;
};

// Collective over `world`. Fills the slices' data. Every holder checks the digests of the parts
// that it answers for before any is used, and a receiver those of what it receives; a part that is
// damaged is left for another copy, and `rejected` says so. The handle's path tells where the parts
// came from. kBadData when no good copy of some part is left; kUnavailable when a peer is lost; and
// what `accept` says.
Result<RestoredSnapshot> load_snapshot(const MemorySources& sources,
                                       const SnapshotCandidate& candidate,
                                       const SnapshotInventory& inventory,
                                       const std::function<Status(const CheckpointHandle&)>& accept,
                                       std::span<const StateSlice> wanted, Communicator& world,
                                       Stream& stream, Deadline deadline,
                                       std::vector<CheckpointRejected>& rejected);

}  // namespace leasehold
