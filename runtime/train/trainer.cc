#include "runtime/train/trainer.h"

#include <array>

#include "runtime/base/rank_list.h"

namespace leasehold {

namespace {

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

}  // namespace leasehold
