// Gathers host data on one rank: for what a single rank puts together (a manifest, an inventory).
// Where all ranks need all data, see all_gather_bytes; then every rank holds the whole world's.
#pragma once

#include <string>
#include <vector>

#include "runtime/comm/communicator.h"

namespace leasehold {

// Collective over a host-memory group. Every rank's bytes in rank order on rank 0, nothing on the
// others. They travel up a binomial tree: a rank talks to log2(size) others, and holds what its
// branch of the tree sends and no more. Blocks; when it fails or is late the group is given up.
Result<std::vector<std::string>> gather_bytes(Communicator& group, Stream& stream,
                                              const std::string& mine, Deadline deadline);

}  // namespace leasehold
