#include "runtime/train/state_keeper.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "runtime/checkpoint/save_interval.h"

namespace leasehold {

namespace {

// What the votes mean.
enum Vote : size_t {
  kSnapshotEnded,     // step
  kSnapshotCaptured,  // step
  kSnapshotWhole,     // step
  kSaveEnded,         // step
  kSnapshotCost,      // seconds, negative: the minimum is the dearest
  kStepTime,          // seconds
  kSaveTime,          // seconds, negative
};

constexpr int64_t kMaxInterval = 1000;
constexpr int64_t kMaxRetrySteps = 64;

int64_t as_step(double vote) { return static_cast<int64_t>(vote); }

}  // namespace

int64_t snapshot_interval(double cost_s, double step_time_s, double share) {
  if (!(cost_s > 0) || !(step_time_s > 0)) return 1;
  const double steps = std::ceil(cost_s / (share * step_time_s));
  return static_cast<int64_t>(std::clamp(steps, 1.0, static_cast<double>(kMaxInterval)));
}

Result<std::unique_ptr<StateKeeper>> StateKeeper::create(StateKeeperOptions options, Engine& engine,
                                                         const CheckpointInfo& like,
                                                         FileSystem& files, Communicator& world,
                                                         Event event) {
  std::unique_ptr<StateKeeper> keeper(
      new StateKeeper(std::move(options), engine, std::move(event)));
  const StateKeeperOptions& own = keeper->options_;
  if (own.mode == SnapshotMode::kOff) return keeper;
  LEASEHOLD_ASSIGN_OR_RETURN(keeper->saver_,
                             BackgroundSaver::create(files, own.run_dir, world, own.timeout_s));
  LEASEHOLD_ASSIGN_OR_RETURN(
      keeper->tier_,
      MemoryTier::create({.directory = own.memory_directory,
                          .run_dir = own.run_dir,
                          .node = own.ranks[static_cast<size_t>(world.rank())].node,
                          .generation = like.generation,
                          .partners = choose_partners(own.ranks),
                          .timeout_s = own.timeout_s,
                          .wait_for_slices = [&engine] { return engine.wait_captured(); }},
                         engine.owned_slices(), like, world));
  std::set<std::string> nodes;
  for (const FailureDomain& rank : own.ranks) nodes.insert(rank.node);
  keeper->event_(
      "snapshots",
      nodes.size() > 1
          ? fmt::format("to the memory of {} nodes, each with its partner's", nodes.size())
          : "to the memory of the one node, without a copy elsewhere: they outlive the "
            "ranks, not the node",
      {});
  return keeper;
}

Votes StateKeeper::votes(double step_time_s) const {
  Votes votes{};
  if (!tier_) return votes;
  votes[kSnapshotEnded] = static_cast<double>(tier_->ended_step());
  votes[kSnapshotCaptured] = static_cast<double>(tier_->captured_step());
  votes[kSnapshotWhole] = static_cast<double>(tier_->whole_step());
  votes[kSaveEnded] = static_cast<double>(saver_->newest().step);
  votes[kSnapshotCost] = -tier_->cost_s();
  votes[kStepTime] = step_time_s;
  votes[kSaveTime] = -save_time_s_;
  return votes;
}

Status StateKeeper::before_update() {
  // A copy stays as it is while the state changes.
  if (!tier_ || engine_.state_is_copied()) return ok_status();
  return tier_->wait_captured(after_group_timeout(options_.timeout_s));
}

void StateKeeper::after_step(const CheckpointInfo& info, const Votes& agreed) {
  if (!tier_) return;
  end_snapshot(agreed);
  if (saving_step_ >= 0 && as_step(agreed[kSaveEnded]) == saving_step_) end_save();
  begin_save(agreed);
  if (checkpoint_due(info.step, agreed)) save_wanted_ = true;

  const bool wanted_for_files = save_wanted_ && saving_step_ < 0 && save_waits_for_step_ < 0;
  const bool due = begun_step_ < 0 || info.step - begun_step_ >= interval_;
  if (snapshot_under_way_ || !(due || wanted_for_files)) return;
  begun_step_ = info.step;
  snapshot_info_ = info;
  snapshot_under_way_ = true;
  if (wanted_for_files) {
    save_wanted_ = false;
    save_waits_for_step_ = info.step;
  }
  engine_.begin_capture();
  tier_->begin(info, committed_step_);
}

bool StateKeeper::checkpoint_due(int64_t step, const Votes& agreed) const {
  if (step == retry_at_step_) return true;
  const int64_t every = options_.checkpoint_every_steps;
  if (every > 0 && step % every == 0) return true;
  // The first one soon: it measures what a save costs.
  if (options_.mtbf_s <= 0 || saving_step_ >= 0 || save_waits_for_step_ >= 0) return false;
  if (last_save_step_ < 0) return true;
  const double save_s = -agreed[kSaveTime];  // said with the step after the one that ended the save
  if (!(save_s > 0)) return false;
  const double since_s = static_cast<double>(step - last_save_step_) * agreed[kStepTime];
  return since_s >= save_interval_s(save_s, options_.mtbf_s);
}

void StateKeeper::end_snapshot(const Votes& agreed) {
  committed_step_ = std::max(committed_step_, as_step(agreed[kSnapshotWhole]));
  if (!snapshot_under_way_ || as_step(agreed[kSnapshotEnded]) != begun_step_) return;
  snapshot_under_way_ = false;
  // Once, until one is whole again: the cause may last for thousands of steps.
  const bool failed = as_step(agreed[kSnapshotWhole]) != begun_step_;
  const Status failure = tier_->take_failure();
  if (failed && !snapshots_fail_) {
    event_("snapshot_failed",
           fmt::format("that of step {} is not whole everywhere: {}", begun_step_,
                       failure.ok() ? "another rank or its partner failed" : failure.message()),
           {});
  }
  snapshots_fail_ = failed;
  if (options_.mode == SnapshotMode::kAuto) {
    interval_ = snapshot_interval(-agreed[kSnapshotCost], agreed[kStepTime]);
  }
}

// The snapshot that the files wait for has ended everywhere, and no other has begun since.
void StateKeeper::begin_save(const Votes& agreed) {
  if (save_waits_for_step_ < 0 || snapshot_under_way_) return;
  const int64_t step = std::exchange(save_waits_for_step_, -1);
  std::optional<std::vector<StateSlice>> slices;
  if (as_step(agreed[kSnapshotCaptured]) >= step) slices = tier_->pin(step);
  if (!slices) {
    save_wanted_ = true;
    return;
  }
  saving_step_ = last_save_step_ = step;
  saver_->begin(snapshot_info_, std::move(*slices));
}

void StateKeeper::end_save() {
  const BackgroundSaver::Outcome outcome = saver_->newest();
  tier_->unpin();
  saving_step_ = -1;
  if (outcome.status.ok()) {
    failed_saves_ = 0;
    retry_at_step_ = -1;
    note_durable(outcome.step, outcome.seconds);
    event_("checkpoint_saved", "periodic, in the background",
           {{"seconds", fmt::format("{:.3f}", outcome.seconds)},
            {"checkpoint", checkpoint_name(outcome.step)}});
    options_.on_saved();
    return;
  }
  // Sooner than the next regular one, but not at every step while a disk is full.
  const int64_t wait = std::min(int64_t{1} << std::min<int64_t>(failed_saves_, 6), kMaxRetrySteps);
  ++failed_saves_;
  retry_at_step_ = begun_step_ + wait;
  event_("save_failed",
         fmt::format("{}; training goes on, the next try is after step {}",
                     outcome.status.message(), retry_at_step_),
         {{"checkpoint", checkpoint_name(outcome.step)}});
}

void StateKeeper::note_durable(int64_t step, double seconds) {
  durable_step_ = std::max(durable_step_, step);
  save_time_s_ = seconds;
}

Status StateKeeper::settle() {
  if (!tier_) return ok_status();
  const Deadline deadline = after_group_timeout(options_.timeout_s);
  LEASEHOLD_RETURN_IF_ERROR(tier_->wait_ended(deadline));
  LEASEHOLD_RETURN_IF_ERROR(saver_->wait_ended(deadline));
  snapshot_under_way_ = false;
  save_waits_for_step_ = -1;
  if (saving_step_ >= 0) end_save();
  return ok_status();
}

}  // namespace leasehold
