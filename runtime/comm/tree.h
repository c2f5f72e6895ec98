// The canonical binary tree over leaves 0 .. num_leaves-1: node = left + right, a missing right
// child passes the left through. Sums of lanes and sums of chunk norms meet in this tree, whoever
// computes which part of it, so that the result does not depend on the number of ranks. Everything
// here is pure.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace leasehold {

// Covers leaves [index << level, min((index + 1) << level, num_leaves)).
struct TreeNode {
  int level = 0;
  int64_t index = 0;
  auto operator<=>(const TreeNode&) const = default;
};

int64_t first_leaf(const TreeNode& node);
int64_t end_leaf(const TreeNode& node, int64_t num_leaves);
// Level of the root: the smallest with 2^level >= num_leaves.
int root_level(int64_t num_leaves);

// The fewest whole nodes that together cover leaves [begin, end), left to right, each as high as it
// can be. At most 2 log2(end - begin) + 1 of them, and one when the range is itself a node.
std::vector<TreeNode> cover(int64_t begin, int64_t end, int64_t num_leaves);

// Merging values of adjacent nodes, left to right, as a binary counter does: how to sum a run of
// nodes with few buffers. Push i puts the value of nodes[i] in `buffer`; then each merge adds the
// value in `right` to the one in `left` (left = left + right) and frees `right`.
struct MergeStep {
  int buffer = 0;
  std::vector<std::pair<int, int>> merges;  // (left, right) in order
};
struct MergePlan {
  std::vector<MergeStep> steps;  // one per pushed node
  std::vector<std::pair<TreeNode, int>>
      results;  // what is left: nodes left to right, each with its buffer
  int num_buffers = 0;
};
// `nodes` must be adjacent and left to right. The results are cover(first leaf, end leaf): when the
// nodes cover every leaf, the root alone.
MergePlan plan_merges(const std::vector<TreeNode>& nodes, int64_t num_leaves);

// The whole tree over doubles: for scalars. values must not be empty. Allocates nothing.
double tree_sum(std::span<const double> values);

}  // namespace leasehold
