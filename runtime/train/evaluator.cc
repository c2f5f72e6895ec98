#include "runtime/train/evaluator.h"

#include <algorithm>
#include <vector>

#include "runtime/comm/host_exchange.h"
#include "runtime/comm/tree.h"

namespace leasehold {

Evaluator::Evaluator(ComputeLosses compute, Mesh& mesh, int64_t B, int64_t T,
                     Stream& compute_stream, Stream& host_stream, Arenas& arenas)
    : compute_(std::move(compute)),
      mesh_(mesh),
      B_(B),
      stream_(compute_stream),
      host_stream_(host_stream),
      batch_(kGroupsPerRound, B, T, arenas) {}

// This data rank's groups of the round that begins with group `first`. What is past the last group
// is computed on zeros: every data rank computes as many, because sharded weights travel with them.
Status Evaluator::load(const WindowLoader& loader, int64_t first, int64_t count,
                       int64_t num_groups) {
  Status status;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t g = first + i * mesh_.shape().data + mesh_.coordinates().data;
    batch_.clear(i);
    if (g >= num_groups) continue;
    const Status loaded = batch_.load_windows(i, loader, g * B_);
    if (loaded.ok()) continue;
    batch_.clear(i);
    status = loaded;
  }
  return status;
}

Result<Evaluation> Evaluator::evaluate(const WindowLoader& loader, double timeout_s,
                                       const std::function<bool()>& stop_requested) {
  const int64_t num_groups = (loader.num_windows() + B_ - 1) / B_;
  const int64_t data_ranks = mesh_.shape().data;
  Communicator& world = mesh_.world();
  std::vector<double> sums(static_cast<size_t>(num_groups));
  // Of each rank: its groups' losses, whether it wants to stop, whether it failed.
  constexpr int64_t kValues = kGroupsPerRound + 2;
  std::vector<double> mine(kValues);
  std::vector<double> all(static_cast<size_t>(kValues * world.size()));
  Evaluation evaluation;
  for (int64_t first = 0; first < num_groups; first += data_ranks * kGroupsPerRound) {
    const int64_t count =
        std::min(kGroupsPerRound, (num_groups - first + data_ranks - 1) / data_ranks);
    const Status status = load(loader, first, count, num_groups);
    batch_.upload(stream_);
    compute_(count, batch_);
    batch_.download_losses(stream_);
    LEASEHOLD_RETURN_IF_ERROR(stream_.synchronize(after_group_timeout(timeout_s)));
    for (int64_t i = 0; i < kGroupsPerRound; ++i) mine[static_cast<size_t>(i)] = batch_.loss_sum(i);
    mine[kGroupsPerRound] = stop_requested() ? 1 : 0;
    mine[kGroupsPerRound + 1] = status.ok() ? 0 : 1;
    LEASEHOLD_RETURN_IF_ERROR(
        world
            .all_gather({mine.data(), DType::kF64, Shape{kValues}},
                        {all.data(), DType::kF64, Shape{kValues * world.size()}}, host_stream_)
            .wait(after_group_timeout(timeout_s)));
    bool any_failed = false;
    for (int rank = 0; rank < world.size(); ++rank) {
      const double* values = all.data() + rank * kValues;
      if (values[kGroupsPerRound] != 0) evaluation.interrupted = true;
      if (values[kGroupsPerRound + 1] != 0) any_failed = true;
    }
    if (any_failed) return agree(world, host_stream_, status, after_group_timeout(timeout_s));
    if (evaluation.interrupted) return evaluation;
    // The last stage has the losses.
    for (int64_t i = 0; i < count * data_ranks && first + i < num_groups; ++i) {
      const MeshCoordinates at{.data = static_cast<int>(i % data_ranks),
                               .pipeline = mesh_.shape().pipeline - 1};
      sums[static_cast<size_t>(first + i)] =
          all[static_cast<size_t>(rank_of(at, mesh_.shape()) * kValues + i / data_ranks)];
    }
  }
  evaluation.num_targets = loader.num_windows() * loader.T();
  evaluation.mean_loss = tree_sum(sums) / static_cast<double>(evaluation.num_targets);
  return evaluation;
}

}  // namespace leasehold
