// The global gradient norm, with the same bits for every number of ranks: squares are summed in
// double per chunk of Kernels::kChunk elements, the chunks of a parameter meet in the canonical
// tree, and the parameters' sums are added in bytewise name order. A parameter that the tensor axis
// cuts has a tree for each piece, in the order of the axis. A rank sums and exchanges what begins
// in its own shards, see norm_plan.h.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/comm/communicator.h"
#include "runtime/train/norm_plan.h"

namespace leasehold {

class GradientNorm {
 public:
  // `parts`, `shard` and `trees` as plan_norm; layouts are not kept. `world_ranks`: of each data
  // rank that shares these parts.
  GradientNorm(std::span<const NormPart> parts, int shard, std::span<const NormTree> trees,
               std::vector<int> world_ranks);

  const NormPlan& plan() const { return plan_; }
  // Trees of the whole model.
  int64_t num_trees() const { return num_trees_; }

  // Collective over `world`, a group of host memory. Writes the sums of the trees that begin in
  // this rank's shards to their places in `roots` (num_trees), from those of its chunks
  // (plan().num_chunks). Blocks. Allocates nothing.
  Status sum(std::span<const double> chunk_sums, Communicator& world, Stream& stream,
             Deadline deadline, std::span<double> roots);
  // The norm from the sums of all trees, in their order.
  static double norm(std::span<const double> roots);

 private:
  Status exchange(const NormPlan::Round& round, Communicator& world, Stream& stream,
                  Deadline deadline);

  std::vector<int> world_ranks_;
  int64_t num_trees_;
  NormPlan plan_;
  std::vector<double> values_;  // by slot
  std::vector<double> sent_;
  std::vector<Work> works_;
};

}  // namespace leasehold
