// The canonical binary tree over leaves 0 .. num_leaves-1: node = left + right; without a right
// child a node equals its left child. Sums of lanes and sums of chunk norms meet in this tree,
// whichever rank computes which part. So the result does not depend on the number of ranks.
// Everything here is pure.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace leasehold {

// A node over leaves [index << level, min((index + 1) << level, num_leaves)).
struct TreeNode {
  int level = 0;
  int64_t index = 0;
  auto operator<=>(const TreeNode&) const = default;
};

int64_t first_leaf(const TreeNode& node);
int64_t end_leaf(const TreeNode& node, int64_t num_leaves);
// Returns the level of the root: the smallest with 2^level >= num_leaves.
int root_level(int64_t num_leaves);

// Returns the fewest whole nodes that together cover leaves [begin, end), left to right, each as
// high as possible. They are at most 2 log2(end - begin) + 1, and a single one if the range is
// itself a node.
std::vector<TreeNode> cover(int64_t begin, int64_t end, int64_t num_leaves);

// A plan that sums a run of nodes with few buffers: it merges the values of adjacent nodes, left to
// right, as a binary counter does. Push i puts the value of nodes[i] in `buffer`; then each merge
// adds the value in `right` to the value in `left` (left = left + right) and frees `right`.
struct MergeStep {
  int buffer = 0;
  std::vector<std::pair<int, int>> merges;  // (left, right) in order
};
struct MergePlan {
  std::vector<MergeStep> steps;  // one per pushed node
  // The remaining nodes, left to right, each with its buffer.
  std::vector<std::pair<TreeNode, int>> results;
  int num_buffers = 0;
};
// Plans the merges of `nodes`, which must be adjacent and left to right. The results are
// cover(first leaf, end leaf): the root alone if the nodes cover every leaf.
MergePlan plan_merges(const std::vector<TreeNode>& nodes, int64_t num_leaves);

// Sums doubles in the whole tree, for scalars. `values` must not be empty. Allocates nothing.
double tree_sum(std::span<const double> values);

}  // namespace leasehold
