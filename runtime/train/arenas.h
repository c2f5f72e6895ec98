// The memory of a training engine by family. The same code that allocates from real arenas
// allocates from measuring ones first, so that the sizes are known, and printed by --dry-run,
// before anything is taken.
#pragma once

#include <string>
#include <vector>

#include "runtime/tensor/arena.h"

namespace leasehold {

struct Arenas {
  DeviceKind device_kind;
  Arena parameters;     // values that modules compute with (in fp32 they are the masters too)
  Arena gradients;      // one buffer per node of the canonical tree that this rank holds at a time
  Arena optimizer;      // moments, masters beside a working copy, reduced gradients of the shard
  Arena activations;    // from forward to backward
  Arena scratch;        // within one forward or backward
  Arena communication;  // received parts of buckets
  Arena batch;          // tokens, targets, losses, norms
  Arena staging;        // host memory that the device copies to and from

  static Arenas measuring(DeviceKind kind);
  // As large as the measured ones' peaks.
  static Result<Arenas> create(Device& device, const Arenas& measured);

  std::vector<const Arena*> all() const;
  int64_t total_bytes() const;  // of the peaks
};

}  // namespace leasehold
