#include "runtime/train/trainer.h"

#include "runtime/comm/host_exchange.h"

namespace leasehold {

Trainer::Trainer(Engine& engine, Communicator& world, Stream& stream, FileSystem& files,
                 Clock& clock, const std::vector<OperationDigest>& arithmetic,
                 const WindowLoader& train, const WindowLoader* validation, DrainRequest& drain,
                 TrainerOptions options, RunObserver observer)
    : engine_(engine),
      world_(world),
      stream_(stream),
      files_(files),
      clock_(clock),
      arithmetic_(arithmetic),
      train_(train),
      validation_(validation),
      drain_(drain),
      options_(std::move(options)),
      observer_(std::move(observer)) {}

Trainer::~Trainer() = default;

Status Trainer::run() {
  Status status = claim();
  if (status.ok()) status = restore();
  if (status.ok()) status = train();
  if (!status.ok() && status.code() != Code::kDrained) event("failed", status.message());
  return status;
}

// What rank 0 alone does, answered for by all.
Status Trainer::on_rank_0(const std::function<Status()>& action) {
  return agree(world_, stream_, world_.rank() == 0 ? action() : ok_status(), deadline());
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

Status Trainer::claim() {
  LEASEHOLD_RETURN_IF_ERROR(on_rank_0([&]() -> Status {
    LEASEHOLD_ASSIGN_OR_RETURN(run_directory_, RunDirectory::claim(files_, options_.run_dir,
                                                                   describe_owner(clock_), clock_));
    for (const std::string& repair : run_directory_->repairs()) event("repaired", repair);
    return ok_status();
  }));
  const std::string mine = run_directory_ ? std::to_string(run_directory_->generation()) : "";
  LEASEHOLD_ASSIGN_OR_RETURN(const std::string text,
                             broadcast_bytes(world_, stream_, mine, 0, deadline()));
  info_ = options_.job;
  info_.generation = std::stoll(text);
  info_.arithmetic_class = to_text(arithmetic_);
  event("started", fmt::format("{} ranks", world_.size()),
        {{"world_size", std::to_string(world_.size())}});

  const Status alike =
      compare_arithmetic(arithmetic_, options_.node, world_, stream_, options_.timeout_s);
  if (alike.code() != Code::kBadConfig || !options_.report_arithmetic) return alike;
  event("arithmetic_differs", alike.message());
  return ok_status();
}

Status Trainer::accept(const CheckpointHandle& checkpoint) const {
  if (!options_.fork)
    LEASEHOLD_RETURN_IF_ERROR(check_identity(checkpoint.info, options_.job.identity));
  LEASEHOLD_RETURN_IF_ERROR(check_parameters(checkpoint, engine_.parameter_shapes()));
  if (options_.report_arithmetic) return ok_status();
  return compare_arithmetic(arithmetic_, checkpoint.info.arithmetic_class);
}

Status Trainer::restore() {
  std::vector<CheckpointRejected> rejected;
  const std::vector<StateSlice> wanted = engine_.needed_slices();
  const auto restored = restore_newest(
      files_, options_.run_dir,
      [this](const CheckpointHandle& checkpoint) { return accept(checkpoint); }, wanted, world_,
      stream_, deadline(), rejected);
  for (const CheckpointRejected& bad : rejected)
    event("checkpoint_rejected", bad.reason, {{"checkpoint", bad.path}});
  LEASEHOLD_RETURN_IF_ERROR(restored.status());
  if (!restored->has_value()) {
    LEASEHOLD_ASSIGN_OR_RETURN(info_.lineage,
                               broadcast_bytes(world_, stream_, new_lineage(), 0, deadline()));
    LEASEHOLD_RETURN_IF_ERROR(engine_.initialize());
    event("initialized", "no checkpoint in run.dir: starting from step 0",
          {{"lineage", info_.lineage}});
    return ok_status();
  }
  LEASEHOLD_RETURN_IF_ERROR(engine_.finish_restore());
  return resume_from(**restored);
}

Status Trainer::resume_from(const CheckpointHandle& checkpoint) {
  const CheckpointInfo& found = checkpoint.info;
  info_.step = found.step;
  info_.data_position = found.data_position;
  info_.lineage = found.lineage;
  info_.parent_lineage = found.parent_lineage;
  info_.fork_step = found.fork_step;
  info_.metrics_line = found.metrics_line;
  saved_step_ = found.step;
  if (options_.fork) {
    start_fork(info_, found);
    LEASEHOLD_ASSIGN_OR_RETURN(info_.lineage,
                               broadcast_bytes(world_, stream_, info_.lineage, 0, deadline()));
    LEASEHOLD_RETURN_IF_ERROR(
        on_rank_0([&] { return run_directory_->fork_metrics(found.step, found.lineage); }));
    saved_step_ = -1;
  }
  if (options_.report_arithmetic) {
    const Status alike = compare_arithmetic(arithmetic_, found.arithmetic_class);
    if (!alike.ok()) event("arithmetic_differs", alike.message());
  }
  event("restored", fmt::format("step {} from {}", found.step, checkpoint.path),
        {{"checkpoint", checkpoint.path}, {"lineage", info_.lineage}});
  return ok_status();
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

// A run that was stopped between a step and its validation still owes the step's line.
Result<bool> Trainer::line_owed() {
  const int64_t newest = run_directory_ ? run_directory_->last_metrics_step() : 0;
  LEASEHOLD_ASSIGN_OR_RETURN(
      const std::string text,
      broadcast_bytes(world_, stream_, std::to_string(newest), 0, deadline()));
  return info_.step > 0 && std::stoll(text) < info_.step && !info_.metrics_line.empty();
}

Status Trainer::train() {
  LEASEHOLD_ASSIGN_OR_RETURN(bool stop, agree_on_drain());
  if (stop) return drained("start-up");
  if (info_.step == 0 && validation_ != nullptr) {
    LEASEHOLD_ASSIGN_OR_RETURN(const Evaluation before, engine_.evaluate(*validation_, [this] {
      return drain_.requested();
    }));
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
    LEASEHOLD_RETURN_IF_ERROR(one_step(stop));
  }
  LEASEHOLD_RETURN_IF_ERROR(save("the run is done"));
  event("finished", fmt::format("{} steps done", info_.step));
  return ok_status();
}

Status Trainer::one_step(bool& stop) {
  const double begin_s = clock_.steady_s();
  LEASEHOLD_ASSIGN_OR_RETURN(const StepResult result,
                             engine_.run_step(info_.step, train_, drain_.requested()));
  const double seconds = clock_.steady_s() - begin_s;
  ++info_.step;
  metrics_ = {.step = info_.step,
              .tokens = info_.step * result.num_tokens,
              .loss = result.loss,
              .grad_norm = result.gradient_norm,
              .lr = result.lr,
              .step_time_s = seconds,
              .tokens_per_s = static_cast<double>(result.num_tokens) / seconds,
              .world_size = world_.size(),
              .generation = info_.generation};
  info_.data_position = static_cast<uint64_t>(metrics_.tokens / train_.T());
  info_.metrics_line = metrics_line(metrics_);
  line_pending_ = true;
  stop = result.stop_requested || (options_.stop_after && info_.step >= *options_.stop_after);
  const bool save_due =
      options_.checkpoint_every_steps > 0 && info_.step % options_.checkpoint_every_steps == 0;
  if (stop || !save_due || info_.step == options_.steps) return ok_status();
  LEASEHOLD_RETURN_IF_ERROR(save("periodic"));
  LEASEHOLD_ASSIGN_OR_RETURN(stop, agree_on_drain());
  return ok_status();
}

Result<std::optional<double>> Trainer::validate_if_due() {
  const bool periodic =
      options_.validate_every_steps > 0 && info_.step % options_.validate_every_steps == 0;
  if (validation_ == nullptr || !(periodic || info_.step == options_.steps))
    return std::optional<double>();
  LEASEHOLD_ASSIGN_OR_RETURN(const Evaluation evaluation,
                             engine_.evaluate(*validation_, [this] { return drain_.requested(); }));
  if (evaluation.interrupted) return drained("validation");
  return std::optional<double>(evaluation.mean_loss);
}

Status Trainer::publish(const std::optional<double>& validation_loss) {
  LEASEHOLD_RETURN_IF_ERROR(on_rank_0([&]() -> Status {
    const std::string line = validation_loss
                                 ? with_validation_loss(info_.metrics_line, *validation_loss)
                                 : info_.metrics_line;
    return run_directory_->publish_metrics(info_.step, line);
  }));
  line_pending_ = false;
  if (world_.rank() == 0) {
    metrics_.validation_loss = validation_loss;
    if (metrics_.step == info_.step) observer_.on_step(metrics_);
    if (validation_loss) observer_.on_validation(info_.step, *validation_loss);
  }
  return ok_status();
}

Status Trainer::save(const std::string& reason) {
  if (saved_step_ == info_.step || info_.step == 0) return ok_status();
  const double begin_s = clock_.steady_s();
  const std::vector<StateSlice> slices = engine_.owned_slices();
  LEASEHOLD_RETURN_IF_ERROR(
      save_checkpoint(files_, options_.run_dir, info_, slices, world_, stream_, deadline()));
  saved_step_ = info_.step;
  event("checkpoint_saved", reason,
        {{"seconds", fmt::format("{:.3f}", clock_.steady_s() - begin_s)},
         {"checkpoint", checkpoint_name(info_.step)}});
  if (world_.rank() == 0) {
    const Status removed =
        remove_old_checkpoints(files_, options_.run_dir, options_.checkpoints_kept);
    if (!removed.ok()) event("old_checkpoints_kept", removed.message());
  }
  return ok_status();
}

Status Trainer::drained(const std::string& phase) {
  LEASEHOLD_RETURN_IF_ERROR(save("draining"));
  const std::string reason = drain_.requested() ? fmt::format("signal {}", drain_.signal())
                             : options_.stop_after
                                 ? fmt::format("--stop-after {}", *options_.stop_after)
                                 : std::string("another rank was asked to stop");
  event("drained", fmt::format("{} in phase {}", reason, phase));
  return error(Code::kDrained, "drained after step {} of {}; start the same command again to go on",
               info_.step, options_.steps);
}

}  // namespace leasehold
