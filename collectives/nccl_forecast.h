// Counts the NCCL communicators that a rank will make, without making them. Pure.
#pragma once

#include "runtime/comm/mesh.h"

namespace leasehold {

struct NcclForecast {
  int axes = 0;   // of all ranks of an axis
  int lanes = 0;  // of two ranks, for messages in one direction
};

// Counts those of the rank at `at`. `chunks`: of each pipeline stage; `tied`: the first stage and
// the last share a weight, and exchange its gradient. Does not grow with the world: at most 2 axes
// and 5 lanes.
NcclForecast forecast_nccl(const MeshShape& shape, const MeshCoordinates& at, int chunks,
                           bool tied);

}  // namespace leasehold
