// Loads a state from snapshots that lie in the memory of several nodes, onto any number of ranks.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "runtime/checkpoint/durable.h"
#include "runtime/checkpoint/memory_inventory.h"

namespace leasehold {

// Where a run's snapshots are to be looked for.
struct MemorySources {
  std::string directory;           // /dev/shm
  std::string prefix;              // run_prefix
  std::string lineage;             // of the run; snapshots of another are not its own
  std::vector<std::string> nodes;  // by rank of the world
};

// Collective over `world`. Fills the slices' data. Every holder checks the digests of the parts
// that it answers for before any is used, and a receiver those of what it receives; a part that is
// damaged is left for another copy, and `rejected` says so. The handle's path tells where the parts
// came from. kBadData when no good copy of some part is left; kUnavailable when a peer is lost; and
// what `accept` says.
Result<CheckpointHandle> load_snapshot(const MemorySources& sources,
                                       const SnapshotCandidate& candidate,
                                       const std::vector<SnapshotCopy>& copies,
                                       const std::function<Status(const CheckpointHandle&)>& accept,
                                       std::span<const StateSlice> wanted, Communicator& world,
                                       Stream& stream, Deadline deadline,
                                       std::vector<CheckpointRejected>& rejected);

}  // namespace leasehold
