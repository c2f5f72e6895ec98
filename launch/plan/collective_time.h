// Tells how long collectives take, by the tier of links that their group spans.
#pragma once

#include "launch/plan/hardware.h"
#include "launch/plan/method.h"

namespace leasehold {

// Ranks of one group. Neighbours are `stride` ranks apart in the world, which is laid over domains
// of fast links in order (tensor ranks next to each other, then context, data, pipeline).
struct RankGroup {
  int64_t size = 1;
  int64_t stride = 1;
};

// Counts the members of the group that share a domain; at least 1.
int64_t members_in_domain(const RankGroup& group, const Hardware& hardware);

// Returns the seconds of a reduce-scatter or an all-gather whose whole buffer has `bytes`: latency
// of a ring, and bytes (size - 1) / size over the bus bandwidth. A group that leaves its domain has
// the network of its members there, at most the domain's bandwidth.
double ring_s(const RankGroup& group, double bytes, const Hardware& hardware,
              const StepMethod& method);

// Returns the seconds of sending `bytes` to the next member.
double send_s(const RankGroup& group, double bytes, const Hardware& hardware,
              const StepMethod& method);

}  // namespace leasehold
