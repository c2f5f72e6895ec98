#include "runtime/train/gradient_norm.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <string>

#include "runtime/tensor/kernels.h"

namespace leasehold {

namespace {

// The parts of each data rank of one layout.
std::vector<std::vector<NormPart>> sharded(const FlatLayout& layout) {
  std::vector<std::vector<NormPart>> ranks;
  for (int rank = 0; rank < layout.num_ranks; ++rank) {
    ranks.push_back({{.layout = &layout,
                      .shard = rank,
                      .piece = 0,
                      .counted = std::vector<bool>(layout.parameters.size(), true)}});
  }
  return ranks;
}

}  // namespace

GradientNorm::GradientNorm(const FlatLayout& layout) : GradientNorm(sharded(layout)) {}

GradientNorm::GradientNorm(const std::vector<std::vector<NormPart>>& ranks)
    : nodes_of_rank_(ranks.size()) {
  struct Pieces {
    int64_t num_leaves = 0;
    std::vector<std::pair<TreeNode, std::pair<size_t, size_t>>> sources;  // node, (rank, number)
  };
  std::map<std::pair<std::string, int>, Pieces> parameters;
  for (size_t rank = 0; rank < ranks.size(); ++rank) {
    auto& nodes = nodes_of_rank_[rank];
    int64_t part_begin = 0;
    for (const NormPart& part : ranks[rank]) {
      for (const OwnedRange& range : part.layout->owned_by(part.shard)) {
        const auto p = static_cast<size_t>(range.parameter);
        if (!part.counted[p]) continue;
        const FlatParameter& parameter = part.layout->parameters[p];
        Pieces& pieces = parameters[{parameter.name, part.piece}];
        pieces.num_leaves = parameter.num_chunks();
        const int64_t first = range.begin / Kernels::kChunk;
        const int64_t end = (range.begin + range.count + Kernels::kChunk - 1) / Kernels::kChunk;
        for (const TreeNode& node : cover(first, end, pieces.num_leaves)) {
          pieces.sources.push_back({node, {rank, nodes.size()}});
          nodes.push_back({.node = node,
                           .first_chunk = part_begin + range.shard_begin / Kernels::kChunk +
                                          first_leaf(node) - first,
                           .num_chunks = end_leaf(node, pieces.num_leaves) - first_leaf(node)});
        }
      }
      part_begin += part.layout->num_shard_elements / Kernels::kChunk;
    }
    num_chunks_.push_back(part_begin);
    num_values_ = std::max(num_values_, static_cast<int64_t>(nodes.size()));
  }
  for (auto& [key, pieces] : parameters) {
    std::sort(pieces.sources.begin(), pieces.sources.end(), [](const auto& a, const auto& b) {
      return first_leaf(a.first) < first_leaf(b.first);
    });
    ParameterPlan plan;
    std::vector<TreeNode> nodes;
    for (const auto& [node, where] : pieces.sources) {
      nodes.push_back(node);
      plan.indices.push_back(static_cast<int64_t>(where.first) * num_values_ +
                             static_cast<int64_t>(where.second));
    }
    plan.merges = plan_merges(nodes, pieces.num_leaves);
    LEASEHOLD_CHECK(plan.merges.results.size() == 1, "the shards do not cover {}", key.first);
    buffers_.resize(std::max(buffers_.size(), static_cast<size_t>(plan.merges.num_buffers)));
    parameters_.push_back(std::move(plan));
  }
}

void GradientNorm::own_values(int rank, std::span<const double> chunk_sums,
                              std::span<double> values) const {
  std::fill(values.begin(), values.end(), 0.0);
  const auto& nodes = nodes_of_rank_[static_cast<size_t>(rank)];
  for (size_t i = 0; i < nodes.size(); ++i) {
    // A node's own subtree has the shape of a tree over its leaves, because its first leaf is
    // aligned to its size.
    const auto chunks = chunk_sums.subspan(static_cast<size_t>(nodes[i].first_chunk),
                                           static_cast<size_t>(nodes[i].num_chunks));
    values[i] = tree_sum(chunks);
  }
}

double GradientNorm::norm(std::span<const double> values) {
  double squares = 0;
  for (const ParameterPlan& plan : parameters_) {
    for (size_t i = 0; i < plan.indices.size(); ++i) {
      const MergeStep& step = plan.merges.steps[i];
      buffers_[static_cast<size_t>(step.buffer)] = values[static_cast<size_t>(plan.indices[i])];
      for (const auto& [left, right] : step.merges) {
        buffers_[static_cast<size_t>(left)] += buffers_[static_cast<size_t>(right)];
      }
    }
    squares += buffers_[static_cast<size_t>(plan.merges.results.front().second)];
  }
  return std::sqrt(squares);
}

}  // namespace leasehold
