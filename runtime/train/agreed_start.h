// The ranks of a run were given the same job, data and program: each reads them for itself, so they
// compare before the first step what they found.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "runtime/comm/communicator.h"

namespace leasehold {

struct StartFact {
  std::string name;   // "optimizer.lr", "data.train"
  std::string value;  // as a person reads it
  bool operator==(const StartFact&) const = default;
};

// Returns the first difference in words, "optimizer.lr is 0.1 here and 0.01 on rank 2", or "" where
// there is none. Pure.
std::string first_difference(std::span<const StartFact> mine, std::span<const StartFact> others,
                             int other_rank);

// Returns the lowest of the ranks that most nodes agree with; of as many nodes each, that most
// ranks agree with; of as many ranks, rank 0 or the lowest. `facts` and `nodes` by rank. Pure.
int majority_rank(std::span<const std::string> facts, std::span<const std::string> nodes);

// Compares this rank's facts with those of the majority: an odd rank 0 is odd. Collective.
// kBadConfig on all ranks, naming the ranks that differ and, of the lowest, its node, the fact and
// both values; kUnavailable when a peer is lost.
Status compare_start(std::span<const StartFact> mine, const std::string& node, Communicator& world,
                     Stream& stream, double timeout_s);

}  // namespace leasehold
