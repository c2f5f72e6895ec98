// The structure of the canonical tree is proved with an operation that is not associative:
// "(left+right)" on strings.
#include "runtime/comm/tree.h"

#include <algorithm>
#include <bit>
#include <gtest/gtest.h>
#include <numeric>
#include <random>
#include <string>

#include "runtime/base/check.h"

namespace leasehold {
namespace {

std::string join(const std::string& left, const std::string& right) {
  return "(" + left + "+" + right + ")";
}

// The definition, written down: level by level, a missing right child passes the left through.
std::string reference_node(const TreeNode& node, int64_t num_leaves) {
  if (first_leaf(node) >= num_leaves) return "";
  if (node.level == 0) return std::to_string(node.index);
  const std::string left = reference_node({node.level - 1, 2 * node.index}, num_leaves);
  const std::string right = reference_node({node.level - 1, 2 * node.index + 1}, num_leaves);
  return right.empty() ? left : join(left, right);
}

std::string reference_tree(int64_t num_leaves) {
  int level = 0;
  while ((int64_t{1} << level) < num_leaves) ++level;
  return reference_node({level, 0}, num_leaves);
}

struct Valued {
  TreeNode node;
  std::string value;
};

// Executes plan_merges over the values, as the trainer does with buffers.
std::vector<Valued> run_plan(const std::vector<Valued>& pushed, int64_t num_leaves) {
  std::vector<TreeNode> nodes;
  for (const Valued& valued : pushed) nodes.push_back(valued.node);
  const MergePlan plan = plan_merges(nodes, num_leaves);
  EXPECT_EQ(plan.steps.size(), pushed.size());
  std::vector<std::string> buffers(static_cast<size_t>(plan.num_buffers));
  for (size_t i = 0; i < pushed.size(); ++i) {
    std::string& target = buffers.at(static_cast<size_t>(plan.steps[i].buffer));
    EXPECT_EQ(target, "") << "step " << i << " overwrites a buffer in use";
    target = pushed[i].value;
    for (const auto& [left, right] : plan.steps[i].merges) {
      std::string& sum = buffers.at(static_cast<size_t>(left));
      std::string& freed = buffers.at(static_cast<size_t>(right));
      EXPECT_NE(sum, "");
      EXPECT_NE(freed, "");
      sum = join(sum, freed);
      freed.clear();
    }
  }
  std::vector<Valued> results;
  for (const auto& [node, buffer] : plan.results) {
    results.push_back({node, std::exchange(buffers.at(static_cast<size_t>(buffer)), "")});
  }
  for (const std::string& buffer : buffers)
    EXPECT_EQ(buffer, "") << "left in a buffer that is no result";
  return results;
}

std::vector<Valued> leaves(int64_t begin, int64_t end) {
  std::vector<Valued> values;
  for (int64_t leaf = begin; leaf < end; ++leaf)
    values.push_back({{0, leaf}, std::to_string(leaf)});
  return values;
}

std::vector<TreeNode> nodes_of(const std::vector<Valued>& values) {
  std::vector<TreeNode> nodes;
  for (const Valued& valued : values) nodes.push_back(valued.node);
  return nodes;
}

// Merges each run of leaves alone, then the runs' results together; must be the plain tree.
void expect_canonical(const std::vector<int64_t>& borders, int64_t num_leaves) {
  std::vector<Valued> roots;
  for (size_t i = 0; i + 1 < borders.size(); ++i) {
    const std::vector<Valued> run = run_plan(leaves(borders[i], borders[i + 1]), num_leaves);
    ASSERT_EQ(nodes_of(run), cover(borders[i], borders[i + 1], num_leaves));
    for (const Valued& valued : run)
      ASSERT_EQ(valued.value, reference_node(valued.node, num_leaves));
    roots.insert(roots.end(), run.begin(), run.end());
  }
  const std::vector<Valued> root = run_plan(roots, num_leaves);
  ASSERT_EQ(root.size(), 1U);
  EXPECT_EQ(root[0].node, (TreeNode{root_level(num_leaves), 0}));
  EXPECT_EQ(root[0].value, reference_tree(num_leaves));
}

TEST(Tree, RootLevel) {
  EXPECT_EQ(root_level(1), 0);
  EXPECT_EQ(root_level(2), 1);
  EXPECT_EQ(root_level(3), 2);
  EXPECT_EQ(root_level(4), 2);
  EXPECT_EQ(root_level(5), 3);
  EXPECT_EQ(root_level(int64_t{1} << 40), 40);
  EXPECT_EQ(root_level((int64_t{1} << 40) + 1), 41);
}

TEST(Tree, ReferenceIsWhatTheDesignSays) {
  EXPECT_EQ(reference_tree(1), "0");
  EXPECT_EQ(reference_tree(3), "((0+1)+2)");
  EXPECT_EQ(reference_tree(6), "(((0+1)+(2+3))+(4+5))");
  EXPECT_EQ(reference_tree(7), "(((0+1)+(2+3))+((4+5)+6))");
}

TEST(Tree, EveryCutOfSmallTreesGivesTheSameTree) {
  for (int64_t num_leaves = 1; num_leaves <= 12; ++num_leaves) {
    for (uint32_t cuts = 0; cuts < 1U << (num_leaves - 1); ++cuts) {
      std::vector<int64_t> borders{0};
      for (int64_t leaf = 1; leaf < num_leaves; ++leaf) {
        if (cuts >> (leaf - 1) & 1) borders.push_back(leaf);
      }
      borders.push_back(num_leaves);
      expect_canonical(borders, num_leaves);
      ASSERT_FALSE(HasFailure()) << num_leaves << " leaves, cuts " << cuts;
    }
  }
}

TEST(Tree, SampledCutsOfTreesUpTo70LeavesGiveTheSameTree) {
  std::mt19937 random(20240607);
  for (int64_t num_leaves = 13; num_leaves <= 70; ++num_leaves) {
    for (int sample = 0; sample < 40; ++sample) {
      std::vector<int64_t> borders{0, num_leaves};
      for (int64_t leaf = 1; leaf < num_leaves; ++leaf) {
        if (random() % 40 < static_cast<unsigned>(sample)) borders.push_back(leaf);
      }
      std::sort(borders.begin(), borders.end());
      expect_canonical(borders, num_leaves);
      ASSERT_FALSE(HasFailure()) << num_leaves << " leaves, sample " << sample;
    }
  }
}

TEST(Tree, CoverIsTheFewestHighestNodes) {
  for (int64_t num_leaves = 1; num_leaves <= 40; ++num_leaves) {
    for (int64_t begin = 0; begin <= num_leaves; ++begin) {
      for (int64_t end = begin; end <= num_leaves; ++end) {
        const std::vector<TreeNode> nodes = cover(begin, end, num_leaves);
        int64_t leaf = begin;
        for (const TreeNode& node : nodes) {
          ASSERT_EQ(first_leaf(node), leaf);
          leaf = end_leaf(node, num_leaves);
          // As high as it can be: its parent is no node of the tree or reaches out of the range.
          const TreeNode parent{node.level + 1, node.index / 2};
          ASSERT_TRUE(node.level == root_level(num_leaves) || first_leaf(parent) < begin ||
                      end_leaf(parent, num_leaves) > end);
        }
        ASSERT_EQ(leaf, end);
        const int64_t count = end - begin;
        if (count > 0) {
          const int log2_floor = std::bit_width(static_cast<uint64_t>(count)) - 1;
          ASSERT_LE(nodes.size(), static_cast<size_t>(2 * log2_floor + 1));
        }
      }
    }
    ASSERT_EQ(cover(0, num_leaves, num_leaves),
              (std::vector<TreeNode>{{root_level(num_leaves), 0}}));
  }
}

TEST(Tree, ANodeCoversItself) {
  for (int64_t num_leaves = 1; num_leaves <= 40; ++num_leaves) {
    for (int level = 0; level <= root_level(num_leaves); ++level) {
      for (int64_t index = 0; index << level < num_leaves; ++index) {
        const TreeNode node{level, index};
        ASSERT_EQ(cover(first_leaf(node), end_leaf(node, num_leaves), num_leaves).size(), 1U)
            << num_leaves << " leaves, node (" << level << ", " << index << ")";
      }
    }
  }
}

TEST(Tree, AlignedRunsNeedLog2Plus1Buffers) {
  for (int level = 0; level <= 10; ++level) {
    const int64_t count = int64_t{1} << level;
    for (const int64_t begin : {int64_t{0}, count, 3 * count}) {
      const MergePlan plan = plan_merges(nodes_of(leaves(begin, begin + count)), 4 * count);
      EXPECT_EQ(plan.num_buffers, level + 1) << count << " leaves from " << begin;
      EXPECT_EQ(plan.results.size(), 1U);
    }
  }
}

TEST(Tree, RunsNeedNoMoreBuffersThanNodesAreOpen) {
  for (int64_t num_leaves = 1; num_leaves <= 40; ++num_leaves) {
    for (int64_t begin = 0; begin < num_leaves; ++begin) {
      size_t open = 0;  // before a push, what is merged so far; the push adds one
      for (int64_t end = begin; end < num_leaves; ++end) {
        open = std::max(open, cover(begin, end, num_leaves).size() + 1);
        const MergePlan plan = plan_merges(nodes_of(leaves(begin, end + 1)), num_leaves);
        ASSERT_EQ(static_cast<size_t>(plan.num_buffers), open);
      }
    }
  }
}

TEST(Tree, NothingToMergeIsAnEmptyPlan) {
  const MergePlan plan = plan_merges({}, 5);
  EXPECT_EQ(plan.num_buffers, 0);
  EXPECT_TRUE(plan.results.empty());
}

TEST(Tree, RefusesGapsOverlapsAndStrangers) {
  EXPECT_THROW(plan_merges({{0, 0}, {0, 2}}, 4), StatusError);
  EXPECT_THROW(plan_merges({{1, 0}, {0, 1}}, 4), StatusError);
  EXPECT_THROW(plan_merges({{0, 4}}, 4), StatusError);
  EXPECT_THROW(plan_merges({{3, 0}}, 4), StatusError);
  EXPECT_THROW(cover(2, 1, 4), StatusError);
  EXPECT_THROW(cover(0, 5, 4), StatusError);
  EXPECT_THROW(root_level(0), StatusError);
}

double reference_sum(const std::vector<double>& values, const TreeNode& node) {
  const auto num_leaves = static_cast<int64_t>(values.size());
  if (node.level == 0) return values[static_cast<size_t>(node.index)];
  const TreeNode right{node.level - 1, 2 * node.index + 1};
  const double left_sum = reference_sum(values, {node.level - 1, 2 * node.index});
  return first_leaf(right) < num_leaves ? left_sum + reference_sum(values, right) : left_sum;
}

TEST(TreeSum, HasTheBitsOfTheTree) {
  std::mt19937 random(7);
  std::uniform_real_distribution<double> exponent(-30, 30);
  bool differs_from_left_to_right = false;
  for (int64_t count = 1; count <= 100; ++count) {
    std::vector<double> values;
    for (int64_t i = 0; i < count; ++i)
      values.push_back(std::ldexp(random() % 1000 - 499.5, static_cast<int>(exponent(random))));
    const double sum = tree_sum(values);
    EXPECT_EQ(std::bit_cast<uint64_t>(sum),
              std::bit_cast<uint64_t>(reference_sum(values, {root_level(count), 0})));
    differs_from_left_to_right |= sum != std::accumulate(values.begin(), values.end(), 0.0);
  }
  EXPECT_TRUE(differs_from_left_to_right) << "the values do not tell orders of summation apart";
  EXPECT_THROW(tree_sum(std::vector<double>{}), StatusError);
}

// Negative zero is a value like any other: passing through must not add anything to it.
TEST(TreeSum, PassesNegativeZeroThrough) {
  EXPECT_TRUE(std::signbit(tree_sum(std::vector<double>{-0.0})));
}

}  // namespace
}  // namespace leasehold
