#include "runtime/comm/tree.h"

#include <algorithm>
#include <bit>

#include "runtime/base/check.h"

namespace leasehold {

namespace {

TreeNode parent_of(const TreeNode& node) { return {node.level + 1, node.index / 2}; }

// Returns the highest node over the same leaves: a left child without a right sibling passes
// through its parent.
TreeNode raised(TreeNode node, int64_t num_leaves) {
  while (node.level < root_level(num_leaves) && node.index % 2 == 0 &&
         end_leaf(node, num_leaves) == num_leaves) {
    node = parent_of(node);
  }
  return node;
}

bool are_siblings(const TreeNode& left, const TreeNode& right) {
  return left.level == right.level && left.index % 2 == 0 && right.index == left.index + 1;
}

// Hands out the lowest free number.
class BufferNumbers {
 public:
  int take() {
    const auto free = std::find(taken_.begin(), taken_.end(), false);
    const auto number = static_cast<int>(free - taken_.begin());
    if (free == taken_.end()) taken_.push_back(false);
    taken_[static_cast<size_t>(number)] = true;
    return number;
  }
  void give_back(int number) { taken_[static_cast<size_t>(number)] = false; }
  int most() const { return static_cast<int>(taken_.size()); }

 private:
  std::vector<bool> taken_;
};

}  // namespace

int64_t first_leaf(const TreeNode& node) { return node.index << node.level; }

int64_t end_leaf(const TreeNode& node, int64_t num_leaves) {
  return std::min((node.index + 1) << node.level, num_leaves);
}

int root_level(int64_t num_leaves) {
  LEASEHOLD_CHECK(num_leaves > 0, "a tree over {} leaves", num_leaves);
  return std::bit_width(static_cast<uint64_t>(num_leaves - 1));
}

std::vector<TreeNode> cover(int64_t begin, int64_t end, int64_t num_leaves) {
  LEASEHOLD_CHECK(0 <= begin && begin <= end && end <= num_leaves, "leaves {} to {} of {}", begin,
                  end, num_leaves);
  std::vector<TreeNode> nodes;
  for (int64_t leaf = begin; leaf < end; leaf = end_leaf(nodes.back(), num_leaves)) {
    TreeNode node{0, leaf};
    while (node.level < root_level(num_leaves) && node.index % 2 == 0 &&
           end_leaf(parent_of(node), num_leaves) <= end) {
      node = parent_of(node);
    }
    nodes.push_back(node);
  }
  return nodes;
}

MergePlan plan_merges(const std::vector<TreeNode>& nodes, int64_t num_leaves) {
  MergePlan plan;
  BufferNumbers buffers;
  for (size_t i = 0; i < nodes.size(); ++i) {
    LEASEHOLD_CHECK(nodes[i].level >= 0 && nodes[i].level <= root_level(num_leaves) &&
                        first_leaf(nodes[i]) >= 0 && first_leaf(nodes[i]) < num_leaves,
                    "node ({}, {}) in a tree over {} leaves", nodes[i].level, nodes[i].index,
                    num_leaves);
    LEASEHOLD_CHECK(i == 0 || first_leaf(nodes[i]) == end_leaf(nodes[i - 1], num_leaves),
                    "node {} of a run starts at leaf {}, the one before ends at {}", i,
                    first_leaf(nodes[i]), end_leaf(nodes[i - 1], num_leaves));
    auto& stack = plan.results;
    stack.emplace_back(raised(nodes[i], num_leaves), buffers.take());
    MergeStep step{stack.back().second, {}};
    while (stack.size() > 1 && are_siblings(stack[stack.size() - 2].first, stack.back().first)) {
      const int right = stack.back().second;
      stack.pop_back();
      step.merges.emplace_back(stack.back().second, right);
      stack.back().first = raised(parent_of(stack.back().first), num_leaves);
      buffers.give_back(right);
    }
    plan.steps.push_back(std::move(step));
  }
  plan.num_buffers = buffers.most();
  return plan;
}

double tree_sum(std::span<const double> values) {
  LEASEHOLD_CHECK(!values.empty(), "a sum over no values");
  if (values.size() == 1) return values[0];
  // The left child of the root has the largest power of two of leaves that leaves at least one to
  // the right child.
  const size_t left = std::bit_floor(values.size() - 1);
  return tree_sum(values.first(left)) + tree_sum(values.subspan(left));
}

}  // namespace leasehold
