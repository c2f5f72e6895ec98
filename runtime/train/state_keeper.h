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
  // Not 0: checkpoints as often as their measured cost and this mean time between failures, the
  // same on every rank, make worth while (save_interval.h).
  double mtbf_s = 0;
  std::vector<FailureDomain> ranks;  // of the world
  std::string memory_directory = kSharedMemory;
  double timeout_s = 300;
  // After a checkpoint was saved in the background, while none is under way.
  std::function<void()> on_saved = [] {};
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

  // Collective. Errors as MemoryTier::create. `like` gives the size of what snapshots say.
  // `engine` must outlive it.
  static Result<std::unique_ptr<StateKeeper>> create(StateKeeperOptions options, Engine& engine,
                                                     const CheckpointInfo& like, FileSystem& files,
                                                     Communicator& world, Event event);

  // For the next step's request: what this rank tells the others, and what it must wait for.
  Votes votes(double step_time_s) const;
  Status before_update();

  // Collective in effect: every rank, after every step, with the state as that step left it.
  void after_step(const CheckpointInfo& info, const Votes& agreed);
  // Waits for what is under way: after it the ranks may save together, or leave.
  Status settle();

  int64_t committed_step() const { return committed_step_; }
  int64_t durable_step() const { return durable_step_; }
  double save_time_s() const { return save_time_s_; }
  // A save elsewhere (Trainer::save).
  void note_durable(int64_t step, double seconds);

 private:
  StateKeeper(StateKeeperOptions options, Engine& engine, Event event)
      : options_(std::move(options)), engine_(engine), event_(std::move(event)) {}
  void end_snapshot(const Votes& agreed);
  void end_save();
  void begin_save(const Votes& agreed);
  bool checkpoint_due(int64_t step, const Votes& agreed) const;

  StateKeeperOptions options_;
  Engine& engine_;
  Event event_;
  std::unique_ptr<BackgroundSaver> saver_;
  std::unique_ptr<MemoryTier> tier_;
  CheckpointInfo snapshot_info_;  // of the newest snapshot begun
  int64_t begun_step_ = -1;
  bool snapshot_under_way_ = false;
  bool snapshots_fail_ = false;  // told already
  int64_t committed_step_ = -1;
  int64_t interval_ = 1;
  bool save_wanted_ = false;
  int64_t save_waits_for_step_ = -1;  // the snapshot that is to be written to files
  int64_t saving_step_ = -1;
  int64_t last_save_step_ = -1;  // begun
  int64_t durable_step_ = -1;
  double save_time_s_ = 0;
  int64_t failed_saves_ = 0;  // in a row
  int64_t retry_at_step_ = -1;
};

}  // namespace leasehold
