#include "runtime/train/gradient_norm.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "runtime/tensor/kernels.h"

namespace leasehold {

namespace {

constexpr int64_t kChunk = Kernels::kChunk;

}  // namespace

GradientNorm::GradientNorm(const FlatLayout& layout)
    : num_chunks_(layout.num_shard_elements / kChunk) {
  const auto num_ranks = static_cast<size_t>(layout.num_ranks);
  std::vector<std::vector<std::pair<TreeNode, int64_t>>> of_parameter(layout.parameters.size());
  nodes_of_rank_.resize(num_ranks);
  for (size_t rank = 0; rank < num_ranks; ++rank) {
    auto& nodes = nodes_of_rank_[rank];
    for (const OwnedRange& range : layout.owned_by(static_cast<int>(rank))) {
      const int64_t leaves = layout.parameters[static_cast<size_t>(range.parameter)].num_chunks();
      const int64_t first = range.begin / kChunk;
      const int64_t end = (range.begin + range.count + kChunk - 1) / kChunk;
      for (const TreeNode& node : cover(first, end, leaves)) {
        nodes.push_back({.node = node,
                         .first_chunk = range.shard_begin / kChunk + first_leaf(node) - first,
                         .num_chunks = end_leaf(node, leaves) - first_leaf(node)});
        of_parameter[static_cast<size_t>(range.parameter)].emplace_back(
            node, static_cast<int64_t>(rank << 40 | (nodes.size() - 1)));
      }
    }
    num_values_ = std::max(num_values_, static_cast<int64_t>(nodes.size()));
  }
  for (size_t rank = 0; rank < num_ranks; ++rank) {
    for (size_t i = 0; i < nodes_of_rank_[rank].size(); ++i) {
      nodes_of_rank_[rank][i].index =
          static_cast<int64_t>(rank) * num_values_ + static_cast<int64_t>(i);
    }
  }

  std::vector<size_t> by_name(layout.parameters.size());
  std::iota(by_name.begin(), by_name.end(), 0);
  std::sort(by_name.begin(), by_name.end(), [&](size_t a, size_t b) {
    return layout.parameters[a].name < layout.parameters[b].name;
  });
  for (const size_t p : by_name) {
    auto& sources = of_parameter[p];
    const int64_t leaves = layout.parameters[p].num_chunks();
    std::sort(sources.begin(), sources.end(), [](const auto& a, const auto& b) {
      return first_leaf(a.first) < first_leaf(b.first);
    });
    ParameterPlan plan;
    std::vector<TreeNode> nodes;
    for (const auto& [node, packed] : sources) {
      nodes.push_back(node);
      const auto rank = static_cast<size_t>(packed >> 40);
      plan.indices.push_back(
          nodes_of_rank_[rank][static_cast<size_t>(packed & ((int64_t{1} << 40) - 1))].index);
    }
    plan.merges = plan_merges(nodes, leaves);
    LEASEHOLD_CHECK(plan.merges.results.size() == 1, "the shards do not cover {}",
                    layout.parameters[p].name);
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
