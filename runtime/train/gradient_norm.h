// The global gradient norm, with the same bits for every number of ranks: squares are summed in
// double per chunk of Kernels::kChunk elements, chunks of a parameter meet in the canonical tree,
// parameters are added in bytewise name order. A rank sums what it owns up to whole nodes of each
// parameter's tree and only those travel.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/comm/tree.h"
#include "runtime/train/flat_layout.h"

namespace leasehold {

class GradientNorm {
 public:
  explicit GradientNorm(const FlatLayout& layout);

  // Doubles that a rank sends: the same number for all, the largest.
  int64_t num_values() const { return num_values_; }
  // Chunks of the shard space of one rank: how many sums squared_norms writes.
  int64_t num_chunks() const { return num_chunks_; }

  // Sums one rank's chunk sums (num_chunks) to its node values (num_values, the rest zero).
  void own_values(int rank, std::span<const double> chunk_sums, std::span<double> values) const;
  // The norm from all ranks' values, rank after rank (num_ranks * num_values).
  double norm(std::span<const double> values);

 private:
  // One node of a parameter's tree and where its value comes from.
  struct NodeSource {
    TreeNode node;
    int64_t first_chunk = 0;  // in the owner's shard space
    int64_t num_chunks = 0;
    int64_t index = 0;  // into all ranks' values
  };
  struct ParameterPlan {
    std::vector<int64_t> indices;  // of the pushed nodes' values, left to right
    MergePlan merges;
  };

  int64_t num_values_ = 0;
  int64_t num_chunks_ = 0;
  std::vector<std::vector<NodeSource>> nodes_of_rank_;
  std::vector<ParameterPlan> parameters_;  // in bytewise name order
  std::vector<double> buffers_;            // of the merge under way
};

}  // namespace leasehold
