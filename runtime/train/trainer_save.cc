// Saves the state in files while training waits, and ends a run that was drained or whose step
// failed.
#include "runtime/comm/host_exchange.h"
#include "runtime/train/trainer.h"

namespace leasehold {

namespace {

// The number of tries of a save before the ranks leave, and the pause after the first try. Each
// later pause is twice as long.
constexpr int kLastTries = 4;
constexpr double kLastPauseS = 1;

}  // namespace

Status Trainer::try_save(const std::string& reason) {
  const double begin_s = clock_.steady_s();
  LEASEHOLD_RETURN_IF_ERROR(on_rank_0([this] { return sync_lines(); }));
  engine_.begin_capture();
  const Status captured = engine_.wait_captured();
  LEASEHOLD_RETURN_IF_ERROR(
      agree(world_, stream_, captured, deadline()).annotated("reading the state"));
  LEASEHOLD_RETURN_IF_ERROR(
      save_checkpoint(saves_, options_.run_dir, info_, engine_.owned_slices(), world_, stream_));
  saved_step_ = info_.step;
  const double seconds = clock_.steady_s() - begin_s;
  if (keeper_) keeper_->note_durable(info_.step, seconds);
  show_progress();
  event("checkpoint_saved", reason,
        {{"seconds", fmt::format("{:.3f}", seconds)}, {"checkpoint", checkpoint_name(info_.step)}});
  const Status tidied = saves_.on_rank_0(world_, stream_, "removing old checkpoints", tidy());
  if (!tidied.ok()) event("old_checkpoints_kept", tidied.message());
  return ok_status();
}

// Without snapshots, while training waits. Only what ends the world, or this generation, ends the
// run: the state is as good as before.
Status Trainer::save_periodically(bool& stop) {
  progress_.phase = Phase::kSaving;
  const Status saved = try_save("periodic");
  if (saved.code() == Code::kUnavailable) return saved;
  if (!saved.ok()) keeper_->note_failed(saved);
  LEASEHOLD_ASSIGN_OR_RETURN(stop, agree_on_drain());
  return ok_status();
}

// Before the ranks leave, also before the first step: a drain leaves a checkpoint of its step.
// kStorage when no try succeeded: the state of this step is in no checkpoint then.
Status Trainer::save_at_last(const std::string& reason) {
  progress_.phase = Phase::kSaving;
  if (keeper_) LEASEHOLD_RETURN_IF_ERROR(keeper_->settle());
  if (keeper_) saved_step_ = std::max(saved_step_, keeper_->durable_step());
  if (saved_step_ == info_.step) return ok_status();
  const std::string what = fmt::format("the save of step {}", info_.step);
  Status saved;
  double pause_s = kLastPauseS;
  for (int tries = 1; tries <= kLastTries; ++tries, pause_s *= 2) {
    // Once no other save will follow, an earlier one that hangs gets as long as any.
    const Status free = saves_.await_left_behind(world_, stream_, what);
    saved = free.ok() ? try_save(reason) : free;
    if (saved.code() != Code::kStorage) return saved;
    if (tries == kLastTries || !free.ok()) break;
    event("save_failed", fmt::format("{}; it is tried again in {:.0f} s", saved.message(), pause_s),
          {{"checkpoint", checkpoint_name(info_.step)}});
    clock_.sleep_s(pause_s);
  }
  return saved.annotated(fmt::format("the state of step {} is in no checkpoint{}", info_.step,
                                     options_.snapshot == SnapshotMode::kOff
                                         ? ""
                                         : ", but in the nodes' memory while that lasts"));
}

// Copies what it needs: it runs on another thread, and may be left behind.
FileWork::Part Trainer::tidy() const {
  return [run_dir = options_.run_dir,
          kept = KeptCheckpoints{.newest = options_.checkpoints_kept,
                                 .multiples_of = options_.keep_every_steps,
                                 .generation = info_.generation},
          usable = std::make_shared<std::set<int64_t>>()](FileSystem& files) {
    return remove_old_checkpoints(files, run_dir, kept, *usable);
  };
}

Status Trainer::drained(const std::string& phase) {
  LEASEHOLD_RETURN_IF_ERROR(save_at_last("draining"));
  const std::string reason =
      drain_.requested() && drain_.signal() == 0 ? std::string("the supervisor's wish")
      : drain_.requested()                       ? fmt::format("signal {}", drain_.signal())
      : options_.stop_after ? fmt::format("--stop-after {}", *options_.stop_after)
                            : std::string("another rank was asked to stop");
  event("drained", fmt::format("{} in phase {}", reason, phase), communication_details());
  return error(Code::kDrained, "drained after step {} of {}; start the same command again to go on",
               info_.step, options_.steps);
}

Result<bool> Trainer::agree_on_drain() {
  LEASEHOLD_ASSIGN_OR_RETURN(
      const auto wishes,
      all_gather_bytes(world_, stream_, drain_.requested() ? "1" : "0", deadline()));
  for (const std::string& wish : wishes) {
    if (wish == "1") return true;
  }
  return false;
}

// Collective. The step failed, and the state of the one before it is as good as ever.
Status Trainer::leave_intact(const Status& why) {
  Status saved;
  if (info_.step > 0) saved = save_at_last("before leaving: " + why.message());
  const std::string place =
      info_.step == 0 ? "No step was done before it."
      : saved.ok()
          ? fmt::format("The state of step {} is saved in {}.", info_.step,
                        join_path(checkpoints_path(options_.run_dir), checkpoint_name(info_.step)))
          : fmt::format("The state of step {} could not be saved: {}.", info_.step,
                        saved.message());
  const std::string skipped =
      info_.num_skipped_in_row == 0
          ? ""
          : fmt::format(", after {} steps that were skipped (optimizer.max_skipped_steps)",
                        info_.num_skipped_in_row);
  return Status(why.code(),
                fmt::format("{}{}. Nothing of that step was taken up. {} To go on, look "
                            "at the data, or pass over what is not finite by "
                            "optimizer.nonfinite = \"skip\"; another optimizer.lr or "
                            "grad_clip needs --fork",
                            why.message(), skipped, place));
}

}  // namespace leasehold
