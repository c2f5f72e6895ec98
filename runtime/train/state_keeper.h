// Keeps the state safe while training goes on: snapshots to memory after steps, and checkpoints to
// files written from them in the background. When to do what follows from values on which all ranks
// agree, so that all do it together.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "runtime/checkpoint/background_saver.h"
#include "runtime/checkpoint/memory_tier.h"
#include "runtime/checkpoint/partners.h"
#include "runtime/train/engine.h"
#include "runtime/train/save_schedule.h"

namespace leasehold {

enum class SnapshotMode {
  kOff,    // no memory tier; checkpoints are written while training waits
  kAuto,   // as often as costs at most 2% of the step time
  kEvery,  // after every step whose predecessor's snapshot has ended
};

struct StateKeeperOptions {
  std::string run_dir;
  SnapshotMode mode = SnapshotMode::kAuto;
  int64_t checkpoint_every_steps = 0;  // 0: no checkpoints at fixed steps
  int64_t keep_every_steps = 0;        // as SaveScheduleOptions::keep_every
  // Not 0: checkpoints as often as their measured cost and this mean time between failures, the
  // same on every rank, make worth while (save_interval.h).
  double mtbf_s = 0;
  std::vector<FailureDomain> ranks;  // of the world
  SlotDirectory memory;
  SecretKey key;                            // of the run
  std::vector<std::string> older_lineages;  // as MemoryTierOptions
  bool from_memory = false;                 // the state was restored from snapshots
  // The run begins: a node that is too small for snapshots is an error. Else they are fewer or off.
  bool must_fit = true;
  double timeout_s = 300;
  // On rank 0 after each checkpoint that was saved in the background, on another thread than the
  // trainer's: removes old ones.
  FileWork::Part tidy = [](FileSystem&) { return ok_status(); };
};

// After how many steps the next snapshot may begin so that snapshots cost at most a share of the
// step time. Pure; at least 1.
int64_t snapshot_interval(double cost_s, double step_time_s, double share = 0.02);

class StateKeeper {
 public:
  // Called on every rank; `event` writes on rank 0 only.
  using Event =
      std::function<void(const std::string& name, const std::string& reason,
                         const std::vector<std::pair<std::string, std::string>>& details)>;

  // Collective. Errors as MemoryTier::create with must_fit; without, an event says that there are
  // fewer snapshots or none, and why. `like` gives the size of what snapshots say.
  // `engine`, `saves` (what files are saved with), `world` and `stream` must outlive it.
  static Result<std::unique_ptr<StateKeeper>> create(StateKeeperOptions options, Engine& engine,
                                                     const CheckpointInfo& like, FileWork& saves,
                                                     Communicator& world, Stream& stream,
                                                     Event event);

  // For the next step's request: what this rank tells the others, and what it must wait for.
  Votes votes(double step_time_s) const;
  Status before_update();

  // Collective in effect: every rank, after every step, with the state as that step left it. Fails
  // with the world.
  Status after_step(const CheckpointInfo& info, const Votes& agreed);
  // True when the ranks should save together after this step: without snapshots nobody else does.
  bool save_due() const { return !tier_ && schedule_.wanted(); }
  // Collective. Waits for what is under way, however long it moves: after it the ranks may save
  // together, or leave.
  Status settle();

  int64_t committed_step() const { return committed_step_; }
  int64_t durable_step() const { return durable_step_; }
  double save_time_s() const { return save_time_s_; }
  // A save of the newest step by the trainer, with the same outcome on every rank.
  void note_durable(int64_t step, double seconds);
  void note_failed(const Status& failure);

 private:
  StateKeeper(StateKeeperOptions options, Engine& engine, Communicator& world, Stream& stream,
              Event event);
  Status create_tier(const CheckpointInfo& like);
  // Begins what the tier has to do before the next snapshot; true when there is something.
  Result<bool> tend_tier(int64_t step, const Votes& agreed);
  void end_growth(const Votes& agreed);
  void tell_fewer_slots(int64_t slots);
  void give_up_snapshots(const std::string& reason);
  void save_in_their_place();
  void end_snapshot(const Votes& agreed);
  void end_save(bool whole);
  void begin_save(const Votes& agreed);
  void fail_save(const Status& failure);
  Status tend_saver(int64_t step, const Votes& agreed);

  StateKeeperOptions options_;
  Engine& engine_;
  Communicator& world_;
  Stream& stream_;
  Event event_;
  std::unique_ptr<BackgroundSaver> saver_;
  std::unique_ptr<MemoryTier> tier_;
  CheckpointInfo snapshot_info_;  // of the newest snapshot begun
  int64_t begun_step_ = -1;
  bool snapshot_under_way_ = false;
  bool growing_ = false;  // what is under way is no snapshot
  bool may_grow_ = false;
  bool giving_up_ = false;  // as soon as no files are written from the tier
  int64_t num_tier_renewals_ = 0;
  int64_t renew_tier_at_step_ = 0;  // not before
  bool snapshots_fail_ = false;     // told already
  int64_t committed_step_ = -1;
  int64_t interval_ = 1;
  SaveSchedule schedule_;
  bool pinned_ = false;  // a snapshot stays as it is for the saver
  int64_t num_renewals_ = 0;
  int64_t renew_at_step_ = 0;  // not before
  int64_t durable_step_ = -1;
  double save_time_s_ = 0;
};

}  // namespace leasehold
