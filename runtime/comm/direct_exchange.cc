// Implements the direct exchange: all_to_all rounds carry every root's parts straight to their
// owners, and each owner finishes the tree for its shard.
#include "runtime/base/check.h"
#include "runtime/comm/reduction_exchange.h"

namespace leasehold {

namespace {

// The roots of all ranks are numbered left to right over the tree. This rank's own parts stay in
// place; the other ranks' parts are received next to each other. Round k sends the k-th root of
// each rank, so nothing is packed.
class DirectExchange : public ReductionExchange {
 public:
  DirectExchange(const ReductionSetup& setup, Arena& arena)
      : group_(setup.group), kernels_(setup.kernels), rank_(setup.group->rank()) {
    std::vector<TreeNode> nodes;
    for (const auto& roots : setup.roots) {
      first_.push_back(nodes.size());
      nodes.insert(nodes.end(), roots.begin(), roots.end());
      num_rounds_ = std::max(num_rounds_, roots.size());
    }
    first_.push_back(nodes.size());
    const auto own = static_cast<int64_t>(num_roots(rank_));
    const auto foreign = static_cast<int64_t>(nodes.size()) - own;
    if (foreign > 0) {
      received_ = arena.allocate(kernels_->gradient_dtype(), {foreign, setup.max_shard_elements});
    }
    plan_sums(nodes, setup.num_lanes);
    parts_.resize(nodes.size());
    send_.resize(setup.roots.size());
    receive_.resize(setup.roots.size());
    works_.reserve(num_rounds_);
  }

  void start(std::span<const Tensor> roots, Tensor shard, Stream& stream) override {
    const int64_t n = shard.num_elements();
    shard_ = shard;
    place_parts(roots, n);
    for (size_t round = 0; round < num_rounds_ && group_->size() > 1; ++round) {
      for (int peer = 0; peer < group_->size(); ++peer) {
        const auto p = static_cast<size_t>(peer);
        const bool other = peer != rank_;
        send_[p] = other && round < roots.size() ? roots[round].flat(peer * n, n) : Tensor();
        receive_[p] = other && round < num_roots(peer) ? parts_[first_[p] + round] : Tensor();
      }
      works_.push_back(group_->all_to_all(send_, receive_, stream));
    }
  }

  bool advance(Stream& stream) override {
    for (const Work& work : works_) work.then(stream);
    works_.clear();
    if (sums_.empty() && parts_[0].data() != shard_.data()) {
      stream.copy(shard_.data(), parts_[0].data(), shard_.size_bytes());
    }
    for (size_t i = 0; i < sums_.size(); ++i) {
      const auto [left, right] = sums_[i];
      kernels_->add(stream, parts_[left], parts_[right],
                    i + 1 == sums_.size() ? shard_ : parts_[left]);
    }
    return true;
  }

 private:
  size_t num_roots(int rank) const {
    const auto r = static_cast<size_t>(rank);
    return first_[r + 1] - first_[r];
  }

  // Plans the merges in terms of root numbers. Nothing moves: each sum stays in the place of its
  // left operand.
  void plan_sums(const std::vector<TreeNode>& nodes, int64_t num_lanes) {
    const MergePlan plan = plan_merges(nodes, num_lanes);
    std::vector<size_t> root_in(static_cast<size_t>(plan.num_buffers));
    for (size_t root = 0; root < nodes.size(); ++root) {
      root_in[static_cast<size_t>(plan.steps[root].buffer)] = root;
      for (const auto& [left, right] : plan.steps[root].merges) {
        sums_.emplace_back(root_in[static_cast<size_t>(left)], root_in[static_cast<size_t>(right)]);
      }
    }
  }

  void place_parts(std::span<const Tensor> roots, int64_t n) {
    int64_t foreign = 0;
    for (int peer = 0; peer < group_->size(); ++peer) {
      for (size_t i = 0; i < num_roots(peer); ++i) {
        parts_[first_[static_cast<size_t>(peer)] + i] =
            peer == rank_ ? roots[i].flat(rank_ * n, n) : received_.flat(n * foreign++, n);
      }
    }
  }

  Communicator* group_;
  Kernels* kernels_;
  int rank_;
  std::vector<size_t> first_;  // the number of each rank's first root, then the number of all roots
  size_t num_rounds_ = 0;
  std::vector<std::pair<size_t, size_t>> sums_;  // (left, right) in order
  Tensor received_;                              // (roots of the other ranks, max_shard_elements)
  std::vector<Tensor> parts_;                    // per root, (n): its part of this rank's shard
  std::vector<Tensor> send_;
  std::vector<Tensor> receive_;
  std::vector<Work> works_;
  Tensor shard_;
};

}  // namespace

std::unique_ptr<ReductionExchange> create_direct_exchange(const ReductionSetup& setup,
                                                          Arena& arena) {
  return std::make_unique<DirectExchange>(setup, arena);
}

}  // namespace leasehold
