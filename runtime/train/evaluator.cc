#include "runtime/train/evaluator.h"

#include <vector>

#include "runtime/comm/tree.h"

namespace leasehold {

Evaluator::Evaluator(Module& model, Saved& saved, Kernels& kernels, int64_t B, int64_t T,
                     Stream& stream, Arenas& arenas)
    : model_(model),
      saved_(saved),
      kernels_(kernels),
      B_(B),
      stream_(stream),
      batch_(kGroupsPerRound, B, T, arenas) {}

Result<Evaluation> Evaluator::evaluate(const WindowLoader& loader, Communicator& group,
                                       double timeout_s,
                                       const std::function<bool()>& stop_requested) {
  const int64_t num_groups = (loader.num_windows() + B_ - 1) / B_;
  const int64_t ranks = group.size();
  std::vector<double> sums(static_cast<size_t>(num_groups));
  // Of each rank: its groups' losses, whether it wants to stop, whether it failed.
  constexpr int64_t kValues = kGroupsPerRound + 2;
  std::vector<double> mine(kValues);
  std::vector<double> all(static_cast<size_t>(kValues * ranks));
  Evaluation evaluation;
  UnitHooks no_hooks;
  for (int64_t first = 0; first < num_groups; first += ranks * kGroupsPerRound) {
    Status status;
    for (int64_t i = 0; i < kGroupsPerRound; ++i) {
      const int64_t g = first + i * ranks + group.rank();
      if (g >= num_groups) break;
      const Status loaded = batch_.load_windows(i, loader, g * B_);
      if (!loaded.ok()) {
        batch_.clear(i);
        status = loaded;
      }
    }
    batch_.upload(stream_);
    for (int64_t i = 0; i < kGroupsPerRound && first + i * ranks + group.rank() < num_groups; ++i) {
      const Microbatch microbatch = batch_.microbatch(i);
      StepContext context{.kernels = kernels_,
                          .stream = stream_,
                          .hooks = no_hooks,
                          .microbatch = microbatch,
                          .training = false};
      model_.forward(context, {}, {}, saved_);
    }
    batch_.download_losses(stream_);
    LEASEHOLD_RETURN_IF_ERROR(stream_.synchronize(after_group_timeout(timeout_s)));
    for (int64_t i = 0; i < kGroupsPerRound; ++i) mine[static_cast<size_t>(i)] = batch_.loss_sum(i);
    mine[kGroupsPerRound] = stop_requested() ? 1 : 0;
    mine[kGroupsPerRound + 1] = status.ok() ? 0 : 1;
    LEASEHOLD_RETURN_IF_ERROR(group
                                  .all_gather({mine.data(), DType::kF64, Shape{kValues}},
                                              {all.data(), DType::kF64, Shape{kValues * ranks}},
                                              stream_)
                                  .wait(after_group_timeout(timeout_s)));
    LEASEHOLD_RETURN_IF_ERROR(status);
    for (int64_t rank = 0; rank < ranks; ++rank) {
      const double* values = all.data() + rank * kValues;
      for (int64_t i = 0; i < kGroupsPerRound && first + i * ranks + rank < num_groups; ++i) {
        sums[static_cast<size_t>(first + i * ranks + rank)] = values[i];
      }
      if (values[kGroupsPerRound] != 0) evaluation.interrupted = true;
      if (values[kGroupsPerRound + 1] != 0) {
        return error(Code::kBadData, "rank {} of {} could not read {}; see its own message", rank,
                     group.name(), loader.file().path());
      }
    }
    if (evaluation.interrupted) return evaluation;
  }
  evaluation.num_targets = loader.num_windows() * loader.T();
  evaluation.mean_loss = tree_sum(sums) / static_cast<double>(evaluation.num_targets);
  return evaluation;
}

}  // namespace leasehold
