// Compares what ranks say of themselves where nearly all say the same: a digest of each travels to
// all ranks, and a text once for all that have it.
#pragma once

#include <string>
#include <vector>

#include "runtime/comm/communicator.h"

namespace leasehold {

struct DistinctText {
  int rank = 0;      // the lowest that has it
  std::string text;  // what was compared
  std::string node;  // that rank's
  bool operator==(const DistinctText&) const = default;
};

// Collective over a host-memory group. The different texts among the ranks', in the order of their
// lowest ranks, so that of rank 0 first; the answer is the same on all ranks. `node` is not
// compared. Blocks; when it fails or is late the group is given up.
Result<std::vector<DistinctText>> distinct_texts(Communicator& group, Stream& stream,
                                                 const std::string& text, const std::string& node,
                                                 Deadline deadline);

}  // namespace leasehold
