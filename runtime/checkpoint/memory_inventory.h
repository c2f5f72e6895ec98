// What snapshots the nodes of a new world hold, and which of them make up a whole state.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "runtime/base/mac.h"
#include "runtime/checkpoint/durable.h"
#include "runtime/checkpoint/snapshot_description.h"
#include "runtime/comm/communicator.h"

namespace leasehold {

// Where a run's snapshots are to be looked for.
struct MemorySources {
  std::string directory;           // /dev/shm
  std::string lineage;             // of the run; snapshots of another are not its own
  SecretKey key;                   // of the run (run_key.h)
  std::vector<std::string> nodes;  // by rank of the world
};

// A snapshot of one rank's part, on one node.
struct SnapshotCopy {
  int holder = 0;    // the rank of the present world that answers for it
  std::string node;  // the holder's
  std::string slot;  // its name there (snapshot_slot.h)
  bool is_copy = false;
  int64_t step = 0;
  int64_t generation = 0;
  int64_t world_size = 0;
  int64_t rank = 0;  // whose part
};

struct SnapshotInventory {
  std::vector<SnapshotCopy> copies;           // the same on every rank
  std::map<size_t, SnapshotDescription> own;  // by index: those that this rank answers for
  std::vector<CheckpointRejected> rejected;   // the same on every rank
};

// A step of one generation of which every part is held somewhere.
struct SnapshotCandidate {
  int64_t step = 0;
  int64_t generation = 0;
  std::vector<std::vector<size_t>>
      copies;  // by rank that wrote: indices of SnapshotCopy, own first
};

// Collective over `world`. The ranks of a node share what lies in its memory under the lineage's
// names, and tell the others which step of whose part it is; descriptions stay where they were
// read. Those that are no private files of this user, that the key did not seal, or that are of
// another lineage are rejected.
Result<SnapshotInventory> gather_inventory(const MemorySources& sources, Communicator& world,
                                           Stream& stream, Deadline deadline);

// Pure. Newest step first, then newest generation.
std::vector<SnapshotCandidate> find_candidates(const std::vector<SnapshotCopy>& copies);

}  // namespace leasehold
