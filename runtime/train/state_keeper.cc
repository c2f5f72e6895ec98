#include "runtime/train/state_keeper.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <utility>

#include "runtime/comm/host_exchange.h"

namespace leasehold {

namespace {

// What the votes mean.
enum Vote : size_t {
  kSnapshotEnded,     // step
  kSnapshotCaptured,  // step
  kSnapshotWhole,     // step
  kSaveEnded,         // step
  kSaved,             // step
  kSaverFree,         // 0: something of an earlier save hangs
  kSaverConnected,    // 0: the saver's group is aborted
  kSnapshotCost,      // seconds, negative: the minimum is the dearest
  kStepTime,          // seconds
  kSaveTime,          // seconds, negative
  kSnapshotSlots,     // own slots
  kSnapshotExchange,  // 0: the group by which copies travel is aborted
};

constexpr int64_t kMaxInterval = 1000;
constexpr int64_t kMaxRenewalDoublings = 6;  // of the steps between two tries
// Every 1024 steps in the end: MPI's groups are few.
constexpr int64_t kMaxTierRenewalDoublings = 10;
// Where files replace snapshots and the job names no interval.
constexpr double kAssumedMtbfS = 86400;

int64_t as_step(double vote) { return static_cast<int64_t>(vote); }

}  // namespace

int64_t snapshot_interval(double cost_s, double step_time_s, double share) {
  if (!(cost_s > 0) || !(step_time_s > 0)) return 1;
  const double steps = std::ceil(cost_s / (share * step_time_s));
  return static_cast<int64_t>(std::clamp(steps, 1.0, static_cast<double>(kMaxInterval)));
}

StateKeeper::StateKeeper(StateKeeperOptions options, Engine& engine, Communicator& world,
                         Stream& stream, Event event)
    : options_(std::move(options)),
      engine_(engine),
      world_(world),
      stream_(stream),
      event_(std::move(event)),
      schedule_({.every_steps = options_.checkpoint_every_steps,
                 .keep_every = options_.keep_every_steps,
                 .mtbf_s = options_.mtbf_s}) {}

Result<std::unique_ptr<StateKeeper>> StateKeeper::create(StateKeeperOptions options, Engine& engine,
                                                         const CheckpointInfo& like,
                                                         FileWork& saves, Communicator& world,
                                                         Stream& stream, Event event) {
  std::unique_ptr<StateKeeper> keeper(
      new StateKeeper(std::move(options), engine, world, stream, std::move(event)));
  const StateKeeperOptions& own = keeper->options_;
  if (own.mode == SnapshotMode::kOff) return keeper;
  const Status created = keeper->create_tier(like);
  if (created.code() == Code::kStorage && !own.must_fit) {
    keeper->give_up_snapshots(created.message());
    keeper->save_in_their_place();
    return keeper;
  }
  LEASEHOLD_RETURN_IF_ERROR(created);
  LEASEHOLD_ASSIGN_OR_RETURN(keeper->saver_,
                             BackgroundSaver::create(saves, own.run_dir, world, own.tidy));
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

Status StateKeeper::create_tier(const CheckpointInfo& like) {
  std::vector<std::string> nodes;
  for (const FailureDomain& rank : options_.ranks) nodes.push_back(rank.node);
  LEASEHOLD_ASSIGN_OR_RETURN(
      tier_, MemoryTier::create({.directory = options_.memory,
                                 .lineage = like.lineage,
                                 .key = options_.key,
                                 .older_lineages = options_.older_lineages,
                                 .nodes = std::move(nodes),
                                 .generation = like.generation,
                                 .from_memory = options_.from_memory,
                                 .must_fit = options_.must_fit,
                                 .partners = choose_partners(options_.ranks),
                                 .timeout_s = options_.timeout_s,
                                 .wait_for_slices = [this] { return engine_.wait_captured(); }},
                                engine_.owned_slices(), like, world_));
  may_grow_ = options_.from_memory;
  if (!may_grow_) tell_fewer_slots(tier_->num_slots());
  return ok_status();
}

void StateKeeper::give_up_snapshots(const std::string& reason) {
  event_("snapshots_off", reason + "; files are written instead, while training waits", {});
}

void StateKeeper::save_in_their_place() {
  tier_.reset();
  if (options_.checkpoint_every_steps == 0 && options_.mtbf_s <= 0)
    schedule_ = SaveSchedule(
        {.every_steps = 0, .keep_every = options_.keep_every_steps, .mtbf_s = kAssumedMtbfS});
}

Votes StateKeeper::votes(double step_time_s) const {
  Votes votes{};
  votes[kStepTime] = step_time_s;
  votes[kSaveTime] = -save_time_s_;
  if (!tier_) return votes;
  votes[kSnapshotEnded] = static_cast<double>(tier_->ended_step());
  votes[kSnapshotCaptured] = static_cast<double>(tier_->captured_step());
  votes[kSnapshotWhole] = static_cast<double>(tier_->whole_step());
  // Before the next two, which are of the time after it.
  votes[kSaveEnded] = static_cast<double>(saver_->newest().step);
  votes[kSaved] = static_cast<double>(saver_->saved_step());
  votes[kSaverFree] = saver_->is_free() ? 1 : 0;
  votes[kSaverConnected] = saver_->is_connected() ? 1 : 0;
  votes[kSnapshotCost] = -tier_->cost_s();
  votes[kSnapshotSlots] = static_cast<double>(tier_->num_slots());
  votes[kSnapshotExchange] = tier_->can_exchange() ? 1 : 0;
  return votes;
}

Status StateKeeper::before_update() {
  // A copy stays as it is while the state changes.
  if (!tier_ || engine_.state_is_copied()) return ok_status();
  return tier_->wait_captured(after_group_timeout(options_.timeout_s));
}

Status StateKeeper::after_step(const CheckpointInfo& info, const Votes& agreed) {
  schedule_.step_done(info.step, agreed[kStepTime], -agreed[kSaveTime]);
  if (giving_up_ && !pinned_ && !schedule_.taking()) save_in_their_place();
  if (!tier_) return ok_status();
  end_snapshot(agreed);
  const std::optional<int64_t> writing = schedule_.writing();
  if (writing && as_step(agreed[kSaveEnded]) == *writing)
    end_save(as_step(agreed[kSaved]) == *writing);
  LEASEHOLD_RETURN_IF_ERROR(tend_saver(info.step, agreed));
  begin_save(agreed);
  if (snapshot_under_way_) return ok_status();
  LEASEHOLD_ASSIGN_OR_RETURN(const bool busy, tend_tier(info.step, agreed));
  if (busy) return ok_status();

  const bool saver_ready = agreed[kSaverFree] == 1 && agreed[kSaverConnected] == 1;
  const bool for_files = saver_ready && !pinned_ && schedule_.wanted();
  const bool due = begun_step_ < 0 || info.step - begun_step_ >= interval_;
  const bool free = tier_->can_begin(committed_step_, as_step(agreed[kSnapshotSlots]));
  if (!free || !(due || for_files)) return ok_status();
  begun_step_ = info.step;
  snapshot_info_ = info;
  snapshot_under_way_ = true;
  if (for_files) schedule_.take();
  engine_.begin_capture();
  tier_->begin(info, committed_step_);
  return ok_status();
}

// Makes the exchange anew where copies cannot travel, and takes the other slots once they can be
// had.
Result<bool> StateKeeper::tend_tier(int64_t step, const Votes& agreed) {
  if (agreed[kSnapshotExchange] == 0) {
    // Sooner at first than later: what made one exchange late may last. Meanwhile snapshots are for
    // files alone.
    if (step < renew_tier_at_step_) return false;
    renew_tier_at_step_ =
        step + (int64_t{1} << std::min(num_tier_renewals_++, kMaxTierRenewalDoublings));
    const Status renewed = tier_->renew(world_);
    if (!renewed.ok()) LEASEHOLD_RETURN_IF_ERROR(world_.health());
    event_("snapshots_renewed",
           renewed.ok() ? "copies travel again to partners, by another group" : renewed.message(),
           {});
    return true;
  }
  if (!may_grow_ || committed_step_ < 0) return false;
  may_grow_ = false;
  begun_step_ = step;
  snapshot_under_way_ = growing_ = true;
  tier_->begin_growth(step);
  return true;
}

void StateKeeper::end_growth(const Votes& agreed) {
  const Status failure = tier_->take_failure();
  if (agreed[kSnapshotExchange] == 0) {
    may_grow_ = true;  // with another group
    return;
  }
  giving_up_ = as_step(agreed[kSnapshotSlots]) < slots_of(SlotLevel::kLean).own;
  if (giving_up_) give_up_snapshots(failure.message());
  tell_fewer_slots(as_step(agreed[kSnapshotSlots]));
}

void StateKeeper::tell_fewer_slots(int64_t slots) {
  if (slots != slots_of(SlotLevel::kLean).own) return;
  event_("snapshots_fewer",
         fmt::format("{} has room for 2 of 3 slots a rank on some node: while files are written "
                     "from one, the next snapshot waits",
                     options_.memory.path),
         {});
}

// What the ranks see of a saver between two saves: its snapshot is let go once nothing that hangs
// reads it any more on any rank, and its group is made anew where it was aborted.
Status StateKeeper::tend_saver(int64_t step, const Votes& agreed) {
  if (schedule_.writing()) return ok_status();
  if (pinned_ && agreed[kSaverFree] == 1) {
    tier_->unpin();
    pinned_ = false;
  }
  if (agreed[kSaverConnected] == 1 || step < renew_at_step_) return ok_status();
  renew_at_step_ = step + (int64_t{1} << std::min(num_renewals_, kMaxRenewalDoublings));
  ++num_renewals_;
  return saver_->renew(world_);
}

void StateKeeper::end_snapshot(const Votes& agreed) {
  committed_step_ = std::max(committed_step_, as_step(agreed[kSnapshotWhole]));
  if (!snapshot_under_way_ || as_step(agreed[kSnapshotEnded]) != begun_step_) return;
  snapshot_under_way_ = false;
  if (std::exchange(growing_, false)) return end_growth(agreed);
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
  const std::optional<int64_t> step = schedule_.taking();
  if (!step || snapshot_under_way_) return;
  std::optional<std::vector<StateSlice>> slices;
  if (as_step(agreed[kSnapshotCaptured]) >= *step) slices = tier_->pin(*step);
  if (!slices)
    return fail_save(error(Code::kStorage, "the state of step {} was not copied", *step));
  pinned_ = true;
  schedule_.copied();
  saver_->begin(snapshot_info_, std::move(*slices));
}

void StateKeeper::end_save(bool whole) {
  const BackgroundSaver::Outcome outcome = saver_->newest();
  if (!whole) {
    return fail_save(!outcome.status.ok() ? outcome.status
                                          : error(Code::kUnavailable,
                                                  "the save of step {} did not end well "
                                                  "on another rank",
                                                  outcome.step));
  }
  schedule_.saved();
  durable_step_ = std::max(durable_step_, outcome.step);
  save_time_s_ = outcome.seconds;
  event_("checkpoint_saved", "periodic, in the background",
         {{"seconds", fmt::format("{:.3f}", outcome.seconds)},
          {"checkpoint", checkpoint_name(outcome.step)}});
  if (!outcome.tidied.ok()) event_("old_checkpoints_kept", outcome.tidied.message(), {});
}

void StateKeeper::note_failed(const Status& failure) {
  schedule_.take();
  fail_save(failure);
}

void StateKeeper::fail_save(const Status& failure) {
  const std::optional<int64_t> step = schedule_.newest_begun();
  const int64_t next = schedule_.fail();
  event_(
      "save_failed",
      fmt::format("{}; training goes on, the next try is after step {}", failure.message(), next),
      {{"checkpoint", checkpoint_name(step.value_or(0))}});
}

void StateKeeper::note_durable(int64_t step, double seconds) {
  schedule_.saved_elsewhere();
  durable_step_ = std::max(durable_step_, step);
  save_time_s_ = seconds;
}

Status StateKeeper::settle() {
  if (!tier_) return ok_status();
  const auto ended = [this] {
    return (!snapshot_under_way_ || tier_->ended_step() == begun_step_) && !saver_->under_way();
  };
  LEASEHOLD_RETURN_IF_ERROR(wait_for_all(world_, stream_, ended, options_.timeout_s));
  snapshot_under_way_ = growing_ = false;
  if (schedule_.taking()) schedule_.drop();
  if (const std::optional<int64_t> writing = schedule_.writing()) {
    std::array<double, 1> saved = {static_cast<double>(saver_->saved_step())};
    const Deadline deadline = after_group_timeout(options_.timeout_s);
    LEASEHOLD_RETURN_IF_ERROR(all_reduce_f64(world_, stream_, saved, ReduceOp::kMin, deadline));
    end_save(as_step(saved[0]) == *writing);
  }
  return ok_status();
}

}  // namespace leasehold
