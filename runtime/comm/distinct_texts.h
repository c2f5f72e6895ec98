// Compares texts of the ranks where nearly all are alike. Each rank's digest travels to all ranks;
// a text travels once for all ranks that have it.
#pragma once

#include <string>
#include <vector>

#include "runtime/comm/communicator.h"

namespace leasehold {

struct DistinctText {
  int rank = 0;      // the lowest rank with this text
  std::string text;  // the compared text
  std::string node;  // that rank's node
  bool operator==(const DistinctText&) const = default;
};

// Returns the different texts among the ranks', in the order of their lowest ranks: the text of
// rank 0 comes first. Collective over a host-memory group; all ranks get the same result. `node` is
// not compared. Blocks; gives up the group on failure or after the deadline.
Result<std::vector<DistinctText>> distinct_texts(Communicator& group, Stream& stream,
                                                 const std::string& text, const std::string& node,
                                                 Deadline deadline);

}  // namespace leasehold
