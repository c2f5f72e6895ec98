// The two ways in which the parts of one bucket reach their owners and meet in the canonical tree.
// CanonicalReduction chooses one. An exchange is a sequence of turns; between two turns a message
// is under way, so that the turns of two buckets interleave. Internal to canonical_reduction.
#pragma once

#include <memory>
#include <vector>

#include "runtime/comm/communicator.h"
#include "runtime/comm/tree.h"
#include "runtime/tensor/arena.h"
#include "runtime/tensor/kernels.h"

namespace leasehold {

struct ReductionSetup {
  Communicator* group = nullptr;
  Kernels* kernels = nullptr;
  std::vector<std::vector<TreeNode>> roots;  // by rank of the group, left to right
  int64_t num_lanes = 0;
  int64_t max_shard_elements = 0;
};

// One bucket's exchange. An object serves one bucket after another.
class ReductionExchange {
 public:
  virtual ~ReductionExchange() = default;
  // Issues the first message. roots[i] (size * n) and shard (n) are as in
  // CanonicalReduction::reduce.
  virtual void start(std::span<const Tensor> roots, Tensor shard, Stream& stream) = 0;
  // Makes `stream` wait for the message under way, adds what it brought and issues the next one.
  // Returns true if the shard is complete (as far as the stream is concerned). The number of turns
  // depends on the setup alone, so it is the same on all ranks.
  virtual bool advance(Stream& stream) = 0;
};

// Sends every root's parts straight to their owners, who finish the tree: one turn, any lanes.
std::unique_ptr<ReductionExchange> create_direct_exchange(const ReductionSetup& setup,
                                                          Arena& arena);

// Returns true if every rank holds one root, all of one level, and the number of ranks is a power
// of two above one.
bool can_halve(const ReductionSetup& setup);
// Lets neighbours in the tree exchange halves of what they hold: log2(size) turns of one message
// each.
std::unique_ptr<ReductionExchange> create_halving_exchange(const ReductionSetup& setup,
                                                           Arena& arena);

}  // namespace leasehold
