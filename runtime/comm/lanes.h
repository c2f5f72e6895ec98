// Which rank of the data axis computes which lanes (a lane sums M / L microbatches in index order;
// lanes meet in the canonical tree). Pure.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/base/status.h"

namespace leasehold {

struct LaneRange {
  int64_t begin = 0;
  int64_t end = 0;
  int64_t count() const { return end - begin; }
  bool operator==(const LaneRange&) const = default;
};

// Contiguous ranges for each of `num_ranks` ranks, none empty, covering [0, num_lanes). The longest
// run is ceil(num_lanes / num_ranks) or, where that lets borders sit on aligned powers of two
// (fewer subtree roots to hold and to send), at most 1/8 longer. kBadConfig when num_ranks >
// num_lanes.
Result<std::vector<LaneRange>> assign_lanes(int64_t num_lanes, int num_ranks);

}  // namespace leasehold
