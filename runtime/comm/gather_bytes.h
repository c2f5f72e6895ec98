// Gathers host data on one rank, for what a single rank assembles (a manifest, an inventory). If
// all ranks need all data, see all_gather_bytes; every rank then holds the data of the whole world.
#pragma once

#include <string>
#include <vector>

#include "runtime/comm/communicator.h"

namespace leasehold {

// Returns every rank's bytes, in rank order, on rank 0, and nothing on the other ranks. Collective
// over a host-memory group. The bytes travel up a binomial tree: a rank talks to log2(size) others
// and holds only what its branch of the tree sends. Blocks; gives up the group on failure or after
// the deadline.
Result<std::vector<std::string>> gather_bytes(Communicator& group, Stream& stream,
                                              const std::string& mine, Deadline deadline);

}  // namespace leasehold
