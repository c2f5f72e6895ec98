#include "runtime/train/gradient_norm.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "runtime/comm/tree.h"

namespace leasehold {

GradientNorm::GradientNorm(std::span<const NormPart> parts, int shard,
                           std::span<const NormTree> trees, std::vector<int> world_ranks)
    : world_ranks_(std::move(world_ranks)),
      num_trees_(std::ssize(trees)),
      plan_(plan_norm(parts, shard, trees)),
      values_(static_cast<size_t>(plan_.num_slots)),
      sent_(plan_.sent_slots.size()) {
  size_t most = 0;
  for (const NormPlan::Round& round : plan_.rounds)
    most = std::max(most, round.sends.size() + round.receives.size());
  works_.reserve(most);
}

Status GradientNorm::sum(std::span<const double> chunk_sums, Communicator& world, Stream& stream,
                         Deadline deadline, std::span<double> roots) {
  for (size_t slot = 0; slot < plan_.nodes.size(); ++slot) {
    // A node's own subtree has the shape of a tree over its leaves, because its first leaf is
    // aligned to its size.
    const auto& [first, count] = plan_.nodes[slot];
    values_[slot] =
        tree_sum(chunk_sums.subspan(static_cast<size_t>(first), static_cast<size_t>(count)));
  }
  for (const NormPlan::Round& round : plan_.rounds) {
    for (const auto& [left, right] : round.merges) values_[left] += values_[right];
    LEASEHOLD_RETURN_IF_ERROR(exchange(round, world, stream, deadline));
  }
  for (const auto& [slot, tree] : plan_.roots) roots[static_cast<size_t>(tree)] = values_[slot];
  return ok_status();
}

Status GradientNorm::exchange(const NormPlan::Round& round, Communicator& world, Stream& stream,
                              Deadline deadline) {
  const auto view = [](std::vector<double>& values, const NormPlan::Message& message) {
    return Tensor(values.data() + message.begin, DType::kF64, Shape{message.count});
  };
  const auto peer = [&](const NormPlan::Message& message) {
    return world_ranks_[static_cast<size_t>(message.peer)];
  };
  works_.clear();
  for (const NormPlan::Message& message : round.receives)
    works_.push_back(world.receive(view(values_, message), peer(message), stream));
  for (const NormPlan::Message& message : round.sends) {
    const auto begin = static_cast<size_t>(message.begin);
    for (size_t i = begin; i < begin + static_cast<size_t>(message.count); ++i)
      sent_[i] = values_[plan_.sent_slots[i]];
    works_.push_back(world.send(view(sent_, message), peer(message), stream));
  }
  for (const Work& work : works_) LEASEHOLD_RETURN_IF_ERROR(work.wait(deadline));
  return ok_status();
}

double GradientNorm::norm(std::span<const double> roots) {
  double squares = 0;
  for (const double root : roots) squares += root;
  return std::sqrt(squares);
}

}  // namespace leasehold
