// What snapshots the nodes of a new world hold, and which of them make up a whole state.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/checkpoint/snapshot_description.h"
#include "runtime/comm/communicator.h"

namespace leasehold {

// A snapshot of one rank's part, on one node.
struct SnapshotCopy {
  int holder = 0;    // the rank of the present world that answers for it
  std::string node;  // the holder's
  std::string slot;  // its name there (snapshot_slot.h)
  bool is_copy = false;
  SnapshotDescription description;
};

// A step of one generation of which every part is held somewhere.
struct SnapshotCandidate {
  int64_t step = 0;
  int64_t generation = 0;
  std::vector<std::vector<size_t>>
      copies;  // by rank that wrote: indices of SnapshotCopy, own first
};

// Collective over `world`; the same on every rank. The lowest rank of each node reads what lies in
// `directory` under the prefix and the node's name. Descriptions that are damaged or of another
// lineage are left out.
Result<std::vector<SnapshotCopy>> gather_inventory(
    const std::string& directory, const std::string& prefix, const std::string& lineage,
    const std::vector<std::string>& nodes, Communicator& world, Stream& stream, Deadline deadline);

// Pure. Newest step first, then newest generation.
std::vector<SnapshotCandidate> find_candidates(const std::vector<SnapshotCopy>& copies);

}  // namespace leasehold
