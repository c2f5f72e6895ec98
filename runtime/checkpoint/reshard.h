// From any layout to any layout: which runs of a stored piece fill a wanted slice. Both are
// row-major ranges inside boxes of one global shape. Pure.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "runtime/checkpoint/boxes.h"

namespace leasehold {

// `count` elements from element `source` of the piece to element `target` of the slice, both
// counted from its begin.
struct CopyRun {
  int64_t source = 0;
  int64_t target = 0;
  int64_t count = 0;
  bool operator==(const CopyRun&) const = default;
};

// Calls `visit` for each run that the two share, in row-major order of the global shape; runs are
// as long as both layouts allow and never empty. Stops when `visit` returns false. Time grows with
// the number of runs visited, not with the sizes of the boxes.
void for_each_run(const BoxRange& source, const BoxRange& target,
                  const std::function<bool(const CopyRun&)>& visit);

bool overlaps(const BoxRange& a, const BoxRange& b);

// Copies f32 elements: source[run.source ...] to target[run.target ...] for every run. The memories
// must not overlap.
void copy_shared(const BoxRange& source_range, const float* source, const BoxRange& target_range,
                 float* target);

}  // namespace leasehold
