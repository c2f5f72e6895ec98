// The run: claim run.dir, go on from the newest checkpoint, step, validate, save, leave a metrics
// line per step, drain when asked. All ranks of the world run one Trainer each and leave every
// phase together.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "runtime/base/log.h"
#include "runtime/checkpoint/restore.h"
#include "runtime/checkpoint/run_directory.h"
#include "runtime/comm/file_work.h"
#include "runtime/train/agreed_algorithms.h"
#include "runtime/train/arithmetic_class.h"
#include "runtime/train/drain.h"
#include "runtime/train/engine.h"
#include "runtime/train/metrics.h"
#include "runtime/train/state_keeper.h"

namespace leasehold {

struct TrainerOptions {
  std::string run_dir;
  // A run that begins takes the weights of this checkpoint; empty: it draws them.
  std::string start_from;
  std::set<std::string>
      start_may_differ;  // keys of job.model that may differ from that checkpoint's
  int64_t steps = 1;
  std::optional<int64_t> stop_after;   // drain after this step, as if asked
  int64_t validate_every_steps = 0;    // 0: at the end (and, starting afresh, the beginning) only
  int64_t checkpoint_every_steps = 0;  // 0: at the end and when draining only
  bool checkpoint_interval_auto = false;  // with snapshots: as often as is worth while
  int64_t checkpoints_kept = 2;
  int64_t keep_every_steps = 0;     // not 0: checkpoints of its multiples stay for ever
  bool fork = false;                // go on under other identity keys, as a new lineage
  bool report_arithmetic = false;   // run.identity = "report": an event instead of a refusal
  bool replays_repeat_bits = true;  // else a replayed step that differs is an event
  // A loss or norm that is not finite: true passes over the step, up to so many in a row.
  bool skip_nonfinite = false;
  int64_t max_skipped_steps = 100;
  double timeout_s = 300;  // of a collective
  double stall_s = 600;    // of files that do not move
  std::string node;        // this rank's, for messages
  SnapshotMode snapshot = SnapshotMode::kOff;
  std::vector<FailureDomain> ranks;   // of the world, for partners; empty: all on one node
  SlotDirectory memory;               // where snapshots lie on each node
  std::optional<int64_t> generation;  // the one that a supervisor gives
  // The job as checkpoints describe it: seed, identity, model, tokenizer, cpu_kernels.
  CheckpointInfo job;
  std::string kernel_set_reason;  // why job.cpu_kernels was chosen, for people
  // Returns how many communicators of the device's library this rank has made; null: none.
  std::function<int()> count_communicators;
};

// What a person sees while the run goes on; called on rank 0 only.
struct RunObserver {
  std::function<void(const StepMetrics&)> on_step = [](const StepMetrics&) {};
  std::function<void(int64_t step, double loss)> on_validation = [](int64_t, double) {};
  std::function<void(const std::string&)> on_event = [](const std::string&) {
  };  // one line of plain words
};

enum class Phase { kStarting, kRestoring, kTraining, kValidating, kSaving, kLeaving };
const char* phase_name(Phase phase);  // "starting", ...

// Where this rank is; written by its trainer, read by any thread.
struct RunProgress {
  std::atomic<Phase> phase{Phase::kStarting};
  std::atomic<int64_t> generation{0};
  std::atomic<int64_t> step{0};
  std::atomic<int64_t> committed_step{-1};
  std::atomic<int64_t> durable_step{-1};
  std::atomic<double> step_time_s{0};
  std::atomic<double> save_time_s{0};
  // Grows while saves and restores move on this rank, however long they take.
  std::shared_ptr<std::atomic<int64_t>> num_file_moves = std::make_shared<std::atomic<int64_t>>(0);
  // Of the newest step on this rank, as Communication says.
  std::atomic<double> communication_s{0};
  std::atomic<double> exposed_s{0};
};

// Identity keys of a run that began from a checkpoint: its state digest, and which it was. They
// come from the run's own checkpoints when it goes on.
inline constexpr const char* kStartDigestKey = "run.start_from";
inline constexpr const char* kStartOriginKey = "run.start_from.origin";

// What decides this rank's bits.
struct RankArithmetic {
  Kernels& kernels;
  std::vector<OperationDigest> digests;  // of the job's operations
  // The same again, by the algorithms that the kernels use by now.
  std::function<Result<std::vector<OperationDigest>>()> digest_again;
};

class Trainer {
 public:
  // References must outlive the trainer; `validation` may be null.
  Trainer(Engine& engine, Communicator& world, Stream& stream, FileSystem& files, Clock& clock,
          RankArithmetic arithmetic, const WindowLoader& train, const WindowLoader* validation,
          DrainRequest& drain, RunProgress& progress, TrainerOptions options, RunObserver observer);
  ~Trainer();

  // Collective. Ok when run.steps are done and saved; kDrained when it stopped on request with
  // everything saved; kUnavailable when a peer was lost (leave at once: the group is aborted);
  // others as their causes.
  Status run();

 private:
  Status claim();
  Status agree_on_arithmetic();
  Status digest_again();
  Status use_algorithms(const std::string& text);
  Status try_algorithms(const std::string& text);
  Status restore();
  Status start_anew();
  Result<CheckpointHandle> open_start(FileSystem& files) const;
  Status load_start(const CheckpointHandle& start);
  Status accept_start(const CheckpointInfo& found) const;
  Status resume_from(const Restored& restored);
  Status take_run_key();
  Status take_texts_of(Restored& restored);
  Status start_keeping(const std::optional<Restored>& restored);
  void show_progress();
  // What was measured of communication since this generation began, for an event; empty when
  // nothing was.
  std::vector<std::pair<std::string, std::string>> communication_details() const;
  void remove_snapshots(const SlotChoice& surplus);
  FileWork::Part tidy() const;
  Result<bool> line_owed();
  Result<bool> write_carried_lines();
  void carry_lines();
  Status sync_lines();
  Status sync_lines_now_and_then();
  void tell_notices();
  Status accept(const CheckpointHandle& checkpoint);
  Status train();
  Status one_step(bool& stop);
  void count_skips(const StepResult& result);
  Status leave_intact(const Status& why);
  Result<Evaluation> evaluate();
  Result<std::optional<double>> validate_if_due();
  Status publish(const std::optional<double>& validation_loss);
  Status try_save(const std::string& reason);
  Status save_periodically(bool& stop);
  Status save_at_last(const std::string& reason);
  Status drained(const std::string& phase);
  Result<bool> agree_on_drain();
  void event(const std::string& name, const std::string& reason,
             const std::vector<std::pair<std::string, std::string>>& details = {});
  Status on_rank_0(const std::function<Status()>& action);
  Deadline deadline() const { return after_group_timeout(options_.timeout_s); }

  Engine& engine_;
  Communicator& world_;
  Stream& stream_;
  FileSystem& files_;
  Clock& clock_;
  RankArithmetic arithmetic_;
  const WindowLoader& train_;
  const WindowLoader* validation_;
  DrainRequest& drain_;
  RunProgress& progress_;
  TrainerOptions options_;
  RunObserver observer_;
  AgreedAlgorithms algorithms_;

  FileWork work_;                                // restores, and what rank 0 does in run.dir
  FileWork saves_;                               // in the background too
  std::unique_ptr<RunDirectory> run_directory_;  // rank 0
  std::unique_ptr<StateKeeper> keeper_;
  SecretKey key_;                // of the run
  std::string found_lineage_;    // of run.dir when this generation began
  CheckpointInfo info_;          // of the state as it is
  StepMetrics metrics_;          // of the newest step
  Communication communication_;  // of this generation's steps
  int64_t saved_step_ = -1;
  std::string line_;           // the newest step's metrics line, without what validation adds
  double next_sync_s_ = 0;     // of the log, where snapshots are taken; steady
  bool line_pending_ = false;  // it is not written yet
};

}  // namespace leasehold
