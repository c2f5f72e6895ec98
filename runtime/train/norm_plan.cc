#include "runtime/train/norm_plan.h"

#include <algorithm>
#include <map>
#include <utility>

#include "runtime/comm/tree.h"
#include "runtime/tensor/kernels.h"

namespace leasehold {

namespace {

constexpr int64_t kChunk = Kernels::kChunk;

// Leaves of a parameter that lie in one shard of one bucket.
struct Run {
  int rank = 0;
  int64_t end_leaf = 0;
};

// The run that holds a leaf.
Run run_of(const FlatLayout& layout, const FlatParameter& parameter, int64_t leaf) {
  const int64_t at = parameter.value_begin + leaf * kChunk;
  const auto end = layout.buckets.begin() + layout.num_value_buckets;
  const auto after = std::upper_bound(
      layout.buckets.begin(), end, at,
      [](int64_t value, const Bucket& bucket) { return value < bucket.value_begin; });
  const Bucket& bucket = *std::prev(after);
  const int64_t rank = (at - bucket.value_begin) / bucket.shard_elements;
  const int64_t shard_end = bucket.value_begin + (rank + 1) * bucket.shard_elements;
  return {static_cast<int>(rank),
          std::min((shard_end - parameter.value_begin) / kChunk, parameter.num_chunks())};
}

// A value that goes from one rank to another. Both sides sort what they exchange in a round by the
// node that it is of.
struct Crossing {
  int64_t tree = 0;
  int64_t first_leaf = 0;
  size_t slot = 0;  // of the sender
  int level = 0;    // of the receiver: the merge that takes the value, by level and place
  size_t merge = 0;
  auto operator<=>(const Crossing&) const = default;
};

class Planner {
 public:
  explicit Planner(int shard) : shard_(shard) {}

  // The own nodes of a range that one shard of one bucket holds.
  void add_nodes(const OwnedRange& range, int64_t tree, int64_t num_leaves, int64_t part_begin) {
    const int64_t begin = range.begin / kChunk;
    const int64_t end = (range.begin + range.count + kChunk - 1) / kChunk;
    const int64_t first_chunk = part_begin + range.shard_begin / kChunk;
    for (const TreeNode& node : cover(begin, end, num_leaves)) {
      slots_[{tree, first_leaf(node)}] = plan_.nodes.size();
      own_.push_back({node, tree, range.parameter});
      plan_.nodes.push_back({first_chunk + first_leaf(node) - begin,
                             leasehold::end_leaf(node, num_leaves) - first_leaf(node)});
    }
  }

  // After add_nodes of all ranges of the part: follows each of them up its tree.
  void climb_all(const FlatLayout& layout) {
    for (; climbed_ < own_.size(); ++climbed_) {
      const Own& own = own_[climbed_];
      climb(layout, layout.parameters[static_cast<size_t>(own.parameter)], own.tree, own.node,
            climbed_);
    }
  }

  NormPlan finish(int64_t num_chunks) {
    plan_.num_chunks = num_chunks;
    plan_.num_slots = std::ssize(plan_.nodes);
    for (auto& [level, sums] : merges_) rounds_[level].merges = sums;
    for (auto& [key, crossings] : sends_) lay_out_send(key.first, key.second, crossings);
    for (auto& [key, crossings] : receives_) lay_out_receive(key.first, key.second, crossings);
    for (auto& [number, round] : rounds_) plan_.rounds.push_back(std::move(round));
    return std::move(plan_);
  }

 private:
  struct Own {
    TreeNode node;
    int64_t tree = 0;
    int parameter = 0;
  };
  using Peer = std::pair<int, int>;  // round, data rank

  void climb(const FlatLayout& layout, const FlatParameter& parameter, int64_t tree, TreeNode node,
             size_t slot) {
    const int64_t num_leaves = parameter.num_chunks();
    bool inside = true;  // the own run
    for (; node.level < root_level(num_leaves); node = {node.level + 1, node.index / 2}) {
      if (node.index % 2 != 0) {
        const int owner = run_of(layout, parameter, first_leaf({node.level, node.index - 1})).rank;
        if (owner != shard_)
          sends_[{inside ? 0 : node.level, owner}].push_back({tree, first_leaf(node), slot});
        return;
      }
      const TreeNode right{node.level, node.index + 1};
      const int64_t right_leaf = first_leaf(right);
      if (right_leaf >= num_leaves) continue;  // passes through
      const Run run = run_of(layout, parameter, right_leaf);
      const bool right_inside = leasehold::end_leaf(right, num_leaves) <= run.end_leaf;
      const int level = node.level + 1;
      inside = false;
      auto& merges = merges_[level];
      if (run.rank == shard_) {
        merges.push_back({slot, slots_.at({tree, right_leaf})});
      } else {
        receives_[{right_inside ? 0 : right.level, run.rank}].push_back(
            {tree, right_leaf, 0, level, merges.size()});
        merges.push_back({slot, 0});
      }
    }
    plan_.roots.push_back({slot, tree});
  }

  void lay_out_send(int round, int peer, std::vector<Crossing>& crossings) {
    std::ranges::sort(crossings);
    rounds_[round].sends.push_back({peer, std::ssize(plan_.sent_slots), std::ssize(crossings)});
    for (const Crossing& crossing : crossings) plan_.sent_slots.push_back(crossing.slot);
  }

  // Received values take slots after the own nodes'.
  void lay_out_receive(int round, int peer, std::vector<Crossing>& crossings) {
    std::ranges::sort(crossings);
    rounds_[round].receives.push_back({peer, plan_.num_slots, std::ssize(crossings)});
    for (const Crossing& crossing : crossings) {
      auto& merges = rounds_[crossing.level].merges;
      merges[crossing.merge].right = static_cast<size_t>(plan_.num_slots++);
    }
  }

  int shard_;
  NormPlan plan_;
  std::vector<Own> own_;  // by slot
  size_t climbed_ = 0;
  std::map<std::pair<int64_t, int64_t>, size_t> slots_;  // (tree, first leaf) -> slot
  std::map<int, std::vector<NormPlan::Merge>> merges_;   // by level
  std::map<Peer, std::vector<Crossing>> sends_, receives_;
  std::map<int, NormPlan::Round> rounds_;
};

int64_t find_tree(std::span<const NormTree> trees, const NormTree& wanted) {
  const auto found = std::ranges::lower_bound(trees, wanted);
  LEASEHOLD_CHECK(found != trees.end() && *found == wanted, "no tree of '{}', piece {}",
                  wanted.parameter, wanted.piece);
  return found - trees.begin();
}

}  // namespace

NormPlan plan_norm(std::span<const NormPart> parts, int shard, std::span<const NormTree> trees) {
  Planner planner(shard);
  int64_t part_begin = 0;
  for (const NormPart& part : parts) {
    const FlatLayout& layout = *part.layout;
    for (const OwnedRange& range : layout.owned_by(shard)) {
      const auto p = static_cast<size_t>(range.parameter);
      if (!part.counted[p]) continue;
      const FlatParameter& parameter = layout.parameters[p];
      planner.add_nodes(range, find_tree(trees, {parameter.name, part.piece}),
                        parameter.num_chunks(), part_begin);
    }
    planner.climb_all(layout);
    part_begin += layout.num_shard_elements / kChunk;
  }
  return planner.finish(part_begin);
}

}  // namespace leasehold
