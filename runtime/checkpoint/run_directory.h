// The owner of run.dir, and its two logs. One program at a time: it holds run.dir/lock and has
// created generations/N/claim, N being one more than the newest. What an older generation still
// tries to publish is refused by the claim.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/base/clock.h"
#include "runtime/base/files.h"
#include "runtime/checkpoint/metrics_log.h"
#include "runtime/checkpoint/save_interval.h"

namespace leasehold {

// The newest N for which generations/N/claim exists; 0 when there is none.
Result<int64_t> newest_claim(FileSystem& files, const std::string& run_dir);

// The history that the run is in, by which what lies in the nodes' memory belongs to it: the newest
// generation's that named one. Empty when there is none yet.
Result<std::string> read_lineage(FileSystem& files, const std::string& run_dir);

// "host node-3, pid 812, since 2026-11-21T21:53:57.123Z", of this process.
std::string describe_owner(Clock& clock);

struct ClaimOptions {
  std::string owner;  // describe_owner
  // Given by a supervisor, which holds run.dir/lock itself: claim exactly this generation and take
  // no lock. A generation that is frozen or orphaned keeps no newer one from starting, and writes
  // nothing once a newer one has claimed.
  std::optional<int64_t> generation;
  // False where a step that is computed again may come out otherwise (another number of ranks with
  // batch.reduction = "fast", other machines with run.identity = "report"): that is an event then.
  bool replays_repeat_bits = true;
};

// Held by rank 0 alone. Not thread-safe.
//
// metrics.jsonl holds one JSON object a step, in ascending order of "step", and never goes
// backwards: a step that is there already is compared instead of written. events.jsonl holds one
// JSON object an event. A line that cannot be written (full disk, failing disk) waits in memory and
// is written, in order, once it can be; take_notices() says when that begins and ends.
class RunDirectory {
 public:
  // Creates run_dir if need be, takes the lock, claims the next generation, cuts what a writer that
  // died left half written at the end of the two logs, and removes unfinished checkpoints.
  //   kBadConfig  another program has it; the message names that one's `owner`
  //   kUnavailable  options.generation is not newer than the newest claim: this one is superseded
  //   kStorage    it cannot be written, saying why
  //   kBadData    metrics.jsonl is damaged before its end, naming the line
  static Result<std::unique_ptr<RunDirectory>> claim(FileSystem& files, const std::string& run_dir,
                                                     const ClaimOptions& options, Clock& clock);

  const std::string& path() const { return path_; }
  int64_t generation() const { return generation_; }
  // What claim() cut, one sentence each; worth a warning.
  const std::vector<std::string>& repairs() const { return repairs_; }

  // What events.jsonl tells of the generations before this one.
  FailureHistory failure_history() const { return failures_.history(clock_.unix_s()); }

  // The step of the newest line of metrics.jsonl, written or waiting; -1 when there is none.
  int64_t last_metrics_step() const { return metrics_.last_step(); }
  // The line of that step, without newline; kMissingInput when there is none.
  Result<std::string> metrics_line(int64_t step) const { return metrics_.line(step); }
  // Appends `line` (one JSON object without newline, its "step" equal to `step`), or, when step is
  // not after the last line, compares loss, grad_norm and validation_loss with the line of that
  // step. Values must be equal as they are written (17 digits: bit-identical); else kBadData,
  // "replay_mismatch", and an event of that name, or, where replays need not repeat bits, one event
  // replay_differs in a generation, and ok. A step before the last that has no line is neither
  // written nor compared. kUnavailable when a newer generation has claimed; kStorage when more
  // lines wait than memory is kept for (MetricsLog::kMaxWaitingBytes).
  Status publish_metrics(int64_t step, const std::string& line);
  // Makes the lines written so far durable: what refers to them comes after. kStorage, which
  // take_notices() says, too, when it begins and ends; kUnavailable.
  Status sync_metrics();
  // True once so many lines are not durable that soon they could not be carried, unless it was
  // tried in vain.
  bool must_sync() const {
    return !sync_fails_ && metrics_.undurable_bytes() > MetricsLog::kMaxCarriedBytes / 2;
  }
  // Returns what a checkpoint or snapshot of `step` must carry so that no line is lost with this
  // machine: the newest lines that are not durable (64 KiB of them), and `own`, that step's, unless
  // it is among them. One a line.
  std::string carried_metrics(int64_t step, const std::string& own) const;

  struct Notice {
    std::string name;  // of an event
    std::string reason;
  };
  // Returns what became of the logs since the last call; worth an event each.
  std::vector<Notice> take_notices() { return std::exchange(notices_, {}); }

  Result<std::string> lineage() const { return read_lineage(files_, path_); }
  // kStorage, kUnavailable.
  Status set_lineage(const std::string& lineage);

  // For a fork that goes on after `step`: copies metrics.jsonl to metrics-<parent_lineage>.jsonl
  // and cuts what came after, which belongs to the other lineage.
  Status fork_metrics(int64_t step, const std::string& parent_lineage);

  // {"time": ..., "generation": ..., "event": name, "reason": ..., then the details}. At most 4096
  // events wait; later ones are lost, and counted. kUnavailable.
  Status append_event(const std::string& event, const std::string& reason,
                      const std::vector<std::pair<std::string, std::string>>& details = {});

 private:
  RunDirectory(FileSystem& files, std::string path, Clock& clock)
      : files_(files),
        path_(std::move(path)),
        clock_(clock),
        metrics_(files, join_path(path_, "metrics.jsonl"), [this] { return check_current(); }) {}

  Status take_lock(const std::string& owner);
  Status claim_generation(const std::string& owner);
  Status claim_given_generation(const ClaimOptions& options);
  Status read_metrics();
  Status repair_events();
  Status flush_events();
  Status check_current() const;
  Status compare_replay(int64_t step, const std::string& line);
  void note(const Status& written);
  void note_sync(const Status& synced);
  std::string metrics_path() const { return join_path(path_, "metrics.jsonl"); }
  std::string events_path() const { return join_path(path_, "events.jsonl"); }

  FileSystem& files_;
  std::string path_;
  Clock& clock_;
  std::unique_ptr<FileLock> lock_;
  int64_t generation_ = 0;
  bool replays_repeat_bits_ = true;
  bool difference_told_ = false;
  std::vector<std::string> repairs_;
  MetricsLog metrics_;
  std::deque<std::string> events_;  // that wait
  int64_t num_events_lost_ = 0;
  bool lines_wait_ = false;  // told
  bool sync_fails_ = false;  // told
  std::vector<Notice> notices_;
  FailureCounter failures_;
};

}  // namespace leasehold
