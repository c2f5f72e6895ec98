#include "runtime/train/trainer.h"

#include <array>
#include <sstream>

#include "runtime/base/rank_list.h"
#include "runtime/checkpoint/json_lines.h"
#include "runtime/comm/host_exchange.h"

namespace leasehold {

namespace {

// How often a save is tried before the ranks leave, and the pause after the first try; each later
// one is twice as long.
constexpr int kLastTries = 4;
constexpr double kLastPauseS = 1;

FileWorkLimits file_limits(const TrainerOptions& options, const RunProgress& progress) {
  return {.timeout_s = options.timeout_s,
          .stall_s = options.stall_s,
          .node = options.node,
          .counter = progress.num_file_moves};
}

}  // namespace

Trainer::Trainer(Engine& engine, Communicator& world, Stream& stream, FileSystem& files,
                 Clock& clock, RankArithmetic arithmetic, const WindowLoader& train,
                 const WindowLoader* validation, DrainRequest& drain, RunProgress& progress,
                 TrainerOptions options, RunObserver observer)
    : engine_(engine),
      world_(world),
      stream_(stream),
      files_(files),
      clock_(clock),
      arithmetic_(std::move(arithmetic)),
      train_(train),
      validation_(validation),
      drain_(drain),
      progress_(progress),
      options_(std::move(options)),
      observer_(std::move(observer)),
      algorithms_(arithmetic_.kernels, world, stream, options_.node, options_.report_arithmetic,
                  options_.timeout_s,
                  [this](const auto& name, const auto& reason) { event(name, reason); }),
      work_(files, file_limits(options_, progress)),
      saves_(files, file_limits(options_, progress)) {
  if (options_.ranks.empty()) {
    options_.ranks.assign(static_cast<size_t>(world_.size()), {.node = options_.node});
  }
}

Trainer::~Trainer() = default;

Status Trainer::run() {
  Status status = claim();
  progress_.phase = Phase::kRestoring;
  if (status.ok()) status = restore();
  if (status.ok()) status = train();
  progress_.phase = Phase::kLeaving;
  if (!status.ok() && status.code() != Code::kDrained) event("failed", status.message());
  return status;
}

// Rank 0 alone acts, and all answer for it. When that hangs the ranks leave, and the process with
// what hangs.
Status Trainer::on_rank_0(const std::function<Status()>& action) {
  const Status done = work_.on_rank_0(world_, stream_, "work in " + options_.run_dir,
                                      [action](FileSystem&) { return action(); });
  // What it refuses, nobody would take; what it does not find, another host may have.
  const bool may_be_its_host = done.code() == Code::kMissingInput && world_.size() > 1;
  if (!may_be_its_host || world_.rank() != 0) return done;
  return {done.code(), rank_prefix({0}) + done.message()};
}

void Trainer::event(const std::string& name, const std::string& reason,
                    const std::vector<std::pair<std::string, std::string>>& details) {
  if (world_.rank() != 0) return;
  observer_.on_event(name + (reason.empty() ? "" : ": " + reason));
  if (!run_directory_) return;
  std::vector<std::pair<std::string, std::string>> all = {{"step", std::to_string(info_.step)}};
  all.insert(all.end(), details.begin(), details.end());
  const Status written = run_directory_->append_event(name, reason, all);
  if (!written.ok()) observer_.on_event("events.jsonl: " + written.message());
}

const char* phase_name(Phase phase) {
  constexpr std::array kNames = {"starting",   "restoring", "training",
                                 "validating", "saving",    "leaving"};
  return kNames[static_cast<size_t>(phase)];
}

void Trainer::show_progress() {
  progress_.step = info_.step;
  progress_.step_time_s = metrics_.step_time_s;
  progress_.communication_s = metrics_.communication.busy_s;
  progress_.exposed_s = metrics_.communication.exposed_s;
  if (!keeper_) return;
  progress_.committed_step = keeper_->committed_step();
  progress_.durable_step = keeper_->durable_step();
  progress_.save_time_s = keeper_->save_time_s();
}

std::vector<std::pair<std::string, std::string>> Trainer::communication_details() const {
  std::vector<std::pair<std::string, std::string>> details;
  const int communicators =
      options_.count_communicators == nullptr ? 0 : options_.count_communicators();
  if (communicators > 0) details.push_back({"communicators", std::to_string(communicators)});
  const std::optional<double> hidden = communication_.hidden_share();
  if (!hidden) return details;
  details.push_back({"communication_s", fmt::format("{:.6f}", communication_.busy_s)});
  details.push_back({"communication_exposed_s", fmt::format("{:.6f}", communication_.exposed_s)});
  details.push_back({"communication_hidden", fmt::format("{:.3f}", *hidden)});
  return details;
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
    return ok_status();
  }));
  LEASEHOLD_ASSIGN_OR_RETURN(const std::string text,
                             broadcast_bytes(world_, stream_, owed ? "owed" : "", 0, deadline()));
  tell_notices();
  return !text.empty();
}

// Rank 0's checkpoints and snapshots bring the lines that could not be written yet.
void Trainer::carry_lines() {
  if (run_directory_) info_.metrics_line = run_directory_->unwritten_metrics(info_.step, line_);
}

// Local. A log that cannot be written now keeps no state from being saved: its lines are carried.
Status Trainer::sync_lines() {
  if (!run_directory_) return ok_status();
  const Status synced = run_directory_->sync_metrics();
  carry_lines();
  return synced.code() == Code::kUnavailable ? synced : ok_status();
}

// Training waits for the storage meanwhile, and snapshots may come after every step.
void Trainer::sync_lines_now_and_then() {
  constexpr double kShare = 0.02;  // of the time
  const double begin_s = clock_.steady_s();
  if (begin_s < next_sync_s_) return;
  (void)sync_lines();
  const double end_s = clock_.steady_s();
  next_sync_s_ = end_s + (end_s - begin_s) / kShare;
}

void Trainer::tell_notices() {
  if (!run_directory_) return;
  for (const auto& [name, reason] : run_directory_->take_notices()) event(name, reason);
}

Status Trainer::train() {
  LEASEHOLD_ASSIGN_OR_RETURN(bool stop, agree_on_drain());
  if (stop) return drained("start-up");
  if (info_.step == 0 && validation_ != nullptr) {
    progress_.phase = Phase::kValidating;
    LEASEHOLD_ASSIGN_OR_RETURN(const Evaluation before, evaluate());
    if (before.interrupted) return drained("validation");
    event("validated", fmt::format("loss {:.17g} before the first step", before.mean_loss));
    if (world_.rank() == 0) observer_.on_validation(0, before.mean_loss);
  }
  LEASEHOLD_ASSIGN_OR_RETURN(line_pending_, line_owed());
  stop = options_.stop_after && info_.step >= *options_.stop_after;
  while (true) {
    if (line_pending_) {
      LEASEHOLD_ASSIGN_OR_RETURN(const std::optional<double> validation_loss, validate_if_due());
      if (line_pending_) LEASEHOLD_RETURN_IF_ERROR(publish(validation_loss));
    }
    if (info_.step >= options_.steps) break;
    if (stop) return drained("step");
    progress_.phase = Phase::kTraining;
    LEASEHOLD_RETURN_IF_ERROR(one_step(stop));
  }
  LEASEHOLD_RETURN_IF_ERROR(save_at_last("the run is done"));
  keeper_.reset();
  remove_snapshots([](const std::string&, const SlotName&) { return true; });
  event("finished", fmt::format("{} steps done", info_.step), communication_details());
  return ok_status();
}

Status Trainer::one_step(bool& stop) {
  const double begin_s = clock_.steady_s();
  const StepRequest request = {
      .stop_requested = drain_.requested(),
      .votes = keeper_->votes(metrics_.step_time_s),
      .skip_nonfinite =
          options_.skip_nonfinite && info_.num_skipped_in_row < options_.max_skipped_steps,
      .num_skipped = info_.num_skipped,
      .algorithms = &algorithms_,
      .before_update = [this] { return keeper_->before_update(); }};
  const Result<StepResult> stepped = engine_.run_step(info_.step, train_, request);
  if (!stepped.ok() && engine_.failed_alike()) return leave_intact(stepped.status());
  LEASEHOLD_RETURN_IF_ERROR(stepped.status());
  const StepResult& result = *stepped;
  const double seconds = clock_.steady_s() - begin_s;
  ++info_.step;
  count_skips(result);
  metrics_ = {.step = info_.step,
              .tokens = info_.step * result.num_tokens,
              .loss = result.loss,
              .grad_norm = result.gradient_norm,
              .lr = result.lr,
              .step_time_s = seconds,
              .tokens_per_s = static_cast<double>(result.num_tokens) / seconds,
              .world_size = world_.size(),
              .generation = info_.generation,
              .num_skipped = info_.num_skipped_in_row,
              .communication = result.communication};
  communication_ += result.communication;
  info_.data_position = static_cast<uint64_t>(metrics_.tokens / train_.T());
  line_ = info_.metrics_line = metrics_line(metrics_);
  carry_lines();
  info_.algorithms = algorithms_.text();
  line_pending_ = true;
  stop = result.stop_requested || (options_.stop_after && info_.step >= *options_.stop_after);
  LEASEHOLD_RETURN_IF_ERROR(keeper_->after_step(info_, result.votes));
  show_progress();
  if (stop || !keeper_->save_due() || info_.step == options_.steps) return ok_status();
  return save_periodically(stop);
}

void Trainer::count_skips(const StepResult& result) {
  if (!result.skipped) {
    info_.num_skipped_in_row = 0;
    return;
  }
  ++info_.num_skipped;
  if (++info_.num_skipped_in_row > 1) return;
  event("step_skipped", fmt::format("loss {} and gradient norm {} are not finite: the step updated "
                                    "nothing; up to {} in a row are passed over",
                                    result.loss, result.gradient_norm, options_.max_skipped_steps));
}

// Collective. The step failed, and the state of the one before it is as good as ever.
Status Trainer::leave_intact(const Status& why) {
  const Status saved = save_at_last("before leaving: " + why.message());
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

// Of this rank's node. A fork has left the lineage that run.dir was in.
void Trainer::remove_snapshots(const SlotChoice& surplus) {
  if (options_.snapshot == SnapshotMode::kOff) return;
  const std::string& node = options_.ranks[static_cast<size_t>(world_.rank())].node;
  for (const std::string& lineage : std::set<std::string>{found_lineage_, info_.lineage}) {
    if (lineage.empty()) continue;
    const auto freed = remove_slots(options_.memory.path, lineage_prefix(lineage),
                                    [&](const std::string& slot, const SlotName& name) {
                                      return name.node == node && surplus(slot, name);
                                    });
    if (!freed.ok()) event("snapshots_left_behind", freed.status().message());
  }
}

// Again, where ranks had to settle on another algorithm than one of them used.
Result<Evaluation> Trainer::evaluate() {
  while (true) {
    // It is asked once a round, which is work that gets on too.
    LEASEHOLD_ASSIGN_OR_RETURN(const Evaluation evaluation, engine_.evaluate(*validation_, [this] {
      ++*progress_.num_file_moves;
      return drain_.requested();
    }));
    if (evaluation.interrupted) return evaluation;
    LEASEHOLD_ASSIGN_OR_RETURN(const bool again, algorithms_.settle());
    info_.algorithms = algorithms_.text();
    if (!again) return evaluation;
  }
}

Result<std::optional<double>> Trainer::validate_if_due() {
  const bool periodic =
      options_.validate_every_steps > 0 && info_.step % options_.validate_every_steps == 0;
  if (validation_ == nullptr || !(periodic || info_.step == options_.steps))
    return std::optional<double>();
  progress_.phase = Phase::kValidating;
  LEASEHOLD_ASSIGN_OR_RETURN(const Evaluation evaluation, evaluate());
  if (evaluation.interrupted) return drained("validation");
  return std::optional<double>(evaluation.mean_loss);
}

Status Trainer::publish(const std::optional<double>& validation_loss) {
  LEASEHOLD_RETURN_IF_ERROR(on_rank_0([&]() -> Status {
    return run_directory_->publish_metrics(
        info_.step, validation_loss ? with_validation_loss(line_, *validation_loss) : line_);
  }));
  line_pending_ = false;
  tell_notices();
  if (world_.rank() == 0) {
    metrics_.validation_loss = validation_loss;
    if (metrics_.step == info_.step) observer_.on_step(metrics_);
    if (validation_loss) observer_.on_validation(info_.step, *validation_loss);
  }
  return ok_status();
}

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

// Before the ranks leave. kStorage when no try succeeded: the state of this step is in no
// checkpoint then.
Status Trainer::save_at_last(const std::string& reason) {
  progress_.phase = Phase::kSaving;
  if (keeper_) LEASEHOLD_RETURN_IF_ERROR(keeper_->settle());
  if (keeper_) saved_step_ = std::max(saved_step_, keeper_->durable_step());
  if (saved_step_ == info_.step || info_.step == 0) return ok_status();
  Status saved;
  double pause_s = kLastPauseS;
  for (int tries = 1; tries <= kLastTries; ++tries, pause_s *= 2) {
    saved = try_save(reason);
    if (saved.code() != Code::kStorage) return saved;
    if (tries == kLastTries) break;
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

}  // namespace leasehold
