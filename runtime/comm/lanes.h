// Assigns lanes to the ranks of the data axis. (A lane sums M / L microbatches in index order;
// lanes meet in the canonical tree.) Pure.
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

// Returns a contiguous range for each of `num_ranks` ranks, none empty, covering [0, num_lanes).
// The longest range has ceil(num_lanes / num_ranks) lanes. It may be up to 1/8 longer if that puts
// borders on aligned powers of two, which means fewer subtree roots to hold and to send. kBadConfig
// if num_ranks > num_lanes.
Result<std::vector<LaneRange>> assign_lanes(int64_t num_lanes, int num_ranks);

}  // namespace leasehold
