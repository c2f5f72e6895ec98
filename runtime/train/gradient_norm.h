// The global gradient norm, with the same bits for every number of ranks: squares are summed in
// double per chunk of Kernels::kChunk elements, chunks of a parameter meet in the canonical tree,
// parameters are added in bytewise name order. A rank sums what it owns up to whole nodes of each
// parameter's tree and only those travel. A parameter that the tensor axis cuts is a parameter per
// piece, in the order of the axis.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/comm/tree.h"
#include "runtime/train/flat_layout.h"

namespace leasehold {

// What a rank has of one part of the model.
struct NormPart {
  const FlatLayout* layout = nullptr;
  int shard = 0;              // its data rank
  int piece = 0;              // its tensor rank
  std::vector<bool> counted;  // per parameter of the layout: false where another rank counts it
};

class GradientNorm {
 public:
  // `ranks`: the parts of every rank of the world. Layouts are not kept.
  explicit GradientNorm(const std::vector<std::vector<NormPart>>& ranks);
  // One part, sharded over its data ranks.
  explicit GradientNorm(const FlatLayout& layout);

  // Doubles that a rank sends: the same number for all, the largest.
  int64_t num_values() const { return num_values_; }
  // Chunks of the shard spaces of one rank's parts, one after the other.
  int64_t num_chunks(int rank) const { return num_chunks_[static_cast<size_t>(rank)]; }

  // Sums one rank's chunk sums (num_chunks(rank)) to its node values (num_values, the rest zero).
  void own_values(int rank, std::span<const double> chunk_sums, std::span<double> values) const;
  // The norm from all ranks' values, rank after rank (num_ranks * num_values).
  double norm(std::span<const double> values);

 private:
  // One node of a parameter's tree and where its value comes from.
  struct NodeSource {
    TreeNode node;
    int64_t first_chunk = 0;  // in the owner's shard spaces
    int64_t num_chunks = 0;
  };
  struct ParameterPlan {
    std::vector<int64_t> indices;  // of the pushed nodes' values, left to right
    MergePlan merges;
  };

  int64_t num_values_ = 0;
  std::vector<int64_t> num_chunks_;
  std::vector<std::vector<NodeSource>> nodes_of_rank_;
  std::vector<ParameterPlan> parameters_;  // in bytewise name order, then by piece
  std::vector<double> buffers_;            // of the merge under way
};

}  // namespace leasehold
