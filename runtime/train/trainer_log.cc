// The lines of a run's log: a step's own, and those that a checkpoint or snapshot has to carry
// because they are not durable yet.
#include <sstream>

#include "runtime/checkpoint/json_lines.h"
#include "runtime/comm/host_exchange.h"
#include "runtime/train/trainer.h"

namespace leasehold {

// Rank 0. Writes the lines that the checkpoint brought because they could not be written before it.
// True when the step's own line is still to be written, after its validation.
Result<bool> Trainer::write_carried_lines() {
  bool owed = false;
  int64_t expected = run_directory_->last_metrics_step() + 1;
  std::istringstream carried(info_.metrics_line);
  for (std::string line; std::getline(carried, line);) {
    const int64_t step = find_step(line).value_or(-1);
    if (step < expected || step > info_.step) continue;
    if (step > expected && run_directory_->last_metrics_step() >= 0) {
      event("metrics_gap",
            fmt::format("the lines of steps {} to {} are lost: neither metrics.jsonl "
                        "nor what the run was restored from has them",
                        expected, step - 1));
    }
    expected = step + 1;
    owed = step == info_.step && !member_text(line, "validation_loss");
    if (owed) break;
    LEASEHOLD_RETURN_IF_ERROR(run_directory_->publish_metrics(step, line));
  }
  return owed;
}

// A run that was stopped between a step and its validation still owes the step's line.
Result<bool> Trainer::line_owed() {
  line_ = info_.metrics_line.substr(info_.metrics_line.rfind('\n') + 1);
  bool owed = false;
  LEASEHOLD_RETURN_IF_ERROR(on_rank_0([&]() -> Status {
    LEASEHOLD_ASSIGN_OR_RETURN(owed, write_carried_lines());
    return sync_lines();  // what generations before this one left, too: only they carried it
  }));
  LEASEHOLD_ASSIGN_OR_RETURN(const std::string text,
                             broadcast_bytes(world_, stream_, owed ? "owed" : "", 0, deadline()));
  tell_notices();
  return !text.empty();
}

// Rank 0's checkpoints and snapshots bring the lines that are not durable yet.
void Trainer::carry_lines() {
  if (run_directory_) info_.metrics_line = run_directory_->carried_metrics(info_.step, line_);
}

// Rank 0. A log that cannot be synced now keeps no state from being saved: its lines are carried,
// and a notice says why.
Status Trainer::sync_lines() {
  const Status synced = run_directory_->sync_metrics();
  carry_lines();
  return synced.code() == Code::kUnavailable ? synced : ok_status();
}

// Rank 0. Snapshots may come after every step, and training waits for the storage.
Status Trainer::sync_lines_now_and_then() {
  constexpr double kShare = 0.02;  // of the time
  const double begin_s = clock_.steady_s();
  if (options_.snapshot == SnapshotMode::kOff) return ok_status();
  if (begin_s < next_sync_s_ && !run_directory_->must_sync()) return ok_status();
  LEASEHOLD_RETURN_IF_ERROR(sync_lines());
  const double end_s = clock_.steady_s();
  next_sync_s_ = end_s + (end_s - begin_s) / kShare;
  return ok_status();
}

void Trainer::tell_notices() {
  if (!run_directory_) return;
  for (const auto& [name, reason] : run_directory_->take_notices()) event(name, reason);
}

Status Trainer::publish(const std::optional<double>& validation_loss) {
  const auto publish_line = [&] {
    const Status published = run_directory_->publish_metrics(
        info_.step, validation_loss ? with_validation_loss(line_, *validation_loss) : line_);
    return published.ok() ? sync_lines_now_and_then() : published;
  };
  LEASEHOLD_RETURN_IF_ERROR(on_rank_0(publish_line));
  line_pending_ = false;
  tell_notices();
  if (world_.rank() == 0) {
    metrics_.validation_loss = validation_loss;
    if (metrics_.step == info_.step) observer_.on_step(metrics_);
    if (validation_loss) observer_.on_validation(info_.step, *validation_loss);
  }
  return ok_status();
}

}  // namespace leasehold
