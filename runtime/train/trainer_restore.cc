// How a run begins: the claim of run.dir, and the state that it goes on from.
#include "runtime/checkpoint/model_texts.h"
#include "runtime/checkpoint/run_key.h"
#include "runtime/checkpoint/state_digest.h"
#include "runtime/comm/host_exchange.h"
#include "runtime/data/document_tokens.h"
#include "runtime/train/agreed_kernel_set.h"
#include "runtime/train/trainer.h"

namespace leasehold {

namespace {

// Which state a checkpoint is: by this and without reading it one is told from another.
std::string origin_of(const CheckpointInfo& info) {
  return fmt::format("step {} of lineage {}", info.step, info.lineage);
}

// Compares two tokenizers, but for their notes of the tokens around documents.
bool same_tokenizer(const CheckpointInfo& one, const CheckpointInfo& other) {
  const auto plain = [](const CheckpointInfo& info) {
    const auto noted = split_document_tokens(info.tokenizer_json, "tokenizer.json");
    return noted.ok() ? noted->json : info.tokenizer_json;
  };
  return plain(one) == plain(other);
}

// A fork has slots under the lineage that it left, too.
std::vector<std::string> older_lineages(const std::string& found, const std::string& now) {
  if (found.empty() || found == now) return {};
  return {found};
}

// The job's identity keys, with what the run recorded of its beginning.
std::map<std::string, std::string> identity_of(const CheckpointInfo& job,
                                               const CheckpointInfo& found) {
  std::map<std::string, std::string> identity = job.identity;
  for (const char* key : {kStartDigestKey, kStartOriginKey}) {
    const auto recorded = found.identity.find(key);
    if (recorded != found.identity.end()) identity[key] = recorded->second;
  }
  return identity;
}

}  // namespace

Status Trainer::claim() {
  LEASEHOLD_RETURN_IF_ERROR(on_rank_0([&]() -> Status {
    LEASEHOLD_ASSIGN_OR_RETURN(
        run_directory_, RunDirectory::claim(files_, options_.run_dir,
                                            {.owner = describe_owner(clock_),
                                             .generation = options_.generation,
                                             .replays_repeat_bits = options_.replays_repeat_bits},
                                            clock_));
    for (const std::string& repair : run_directory_->repairs()) event("repaired", repair);
    return ok_status();
  }));
  const std::string mine = run_directory_ ? std::to_string(run_directory_->generation()) : "";
  LEASEHOLD_ASSIGN_OR_RETURN(const std::string text,
                             broadcast_bytes(world_, stream_, mine, 0, deadline()));
  info_ = options_.job;
  info_.generation = std::stoll(text);
  progress_.generation = info_.generation;
  event("started", fmt::format("{} ranks", world_.size()),
        {{"world_size", std::to_string(world_.size())}});
  if (!info_.cpu_kernels.empty()) {
    event("cpu_kernels",
          fmt::format("{} of OpenBLAS: {}", info_.cpu_kernels, options_.kernel_set_reason),
          {{"kernel_set", info_.cpu_kernels}});
  }

  LEASEHOLD_RETURN_IF_ERROR(agree_on_arithmetic());
  Status alike =
      compare_arithmetic(arithmetic_.digests, options_.node, world_, stream_, options_.timeout_s);
  if (alike.code() != Code::kBadConfig || !options_.report_arithmetic) return alike;
  event("arithmetic_differs", alike.message());
  return ok_status();
}

// Collective. What operations make of their inputs follows the algorithms that they use.
Status Trainer::agree_on_arithmetic() {
  LEASEHOLD_ASSIGN_OR_RETURN(const bool replaced, algorithms_.settle());
  if (replaced) {
    const Status digested = digest_again();
    LEASEHOLD_RETURN_IF_ERROR(agree(world_, stream_, digested, deadline()));
  }
  info_.algorithms = algorithms_.text();
  info_.arithmetic_class = to_text(arithmetic_.digests);
  return ok_status();
}

Status Trainer::digest_again() {
  LEASEHOLD_ASSIGN_OR_RETURN(arithmetic_.digests, arithmetic_.digest_again());
  return ok_status();
}

// Local. Before anything is computed that counts.
Status Trainer::use_algorithms(const std::string& text) {
  LEASEHOLD_ASSIGN_OR_RETURN(const bool others, algorithms_.use(text));
  return others ? digest_again() : ok_status();
}

// Collective. Those of a checkpoint, or if a rank cannot, those that this generation began with.
Status Trainer::try_algorithms(const std::string& text) {
  const std::string own = info_.algorithms;
  Status used = use_algorithms(text);
  used = agree(world_, stream_, used, deadline());
  if (used.code() != Code::kBadConfig) return used;
  event("algorithms_differ", used.message());
  const Status back = own.empty() ? ok_status() : use_algorithms(own);
  return agree(world_, stream_, back, deadline());
}

Status Trainer::accept(const CheckpointHandle& checkpoint) {
  LEASEHOLD_RETURN_IF_ERROR(accept_start(checkpoint.info));
  if (!options_.fork) {
    LEASEHOLD_RETURN_IF_ERROR(
        check_identity(checkpoint.info, identity_of(options_.job, checkpoint.info)));
  }
  LEASEHOLD_RETURN_IF_ERROR(check_parameters(checkpoint, engine_.parameter_shapes()));
  // A fork promises no bits of what it leaves: another precision or tensor degree computes others.
  if (options_.report_arithmetic || options_.fork) return ok_status();
  LEASEHOLD_RETURN_IF_ERROR(
      check_kernel_set(checkpoint.info.cpu_kernels, options_.job.cpu_kernels));
  LEASEHOLD_RETURN_IF_ERROR(use_algorithms(checkpoint.info.algorithms));
  return compare_arithmetic(arithmetic_.digests, checkpoint.info.arithmetic_class);
}

// Collective. Every rank gets the run's key, by which snapshots are told from forgeries.
Status Trainer::take_run_key() {
  Result<SecretKey> key = key_;
  if (world_.rank() == 0) key = load_run_key(options_.run_dir);
  LEASEHOLD_RETURN_IF_ERROR(on_rank_0([&] { return key.status(); }));
  LEASEHOLD_ASSIGN_OR_RETURN(const std::string text,
                             broadcast_bytes(world_, stream_, key->to_hex(), 0, deadline()));
  LEASEHOLD_ASSIGN_OR_RETURN(key_, SecretKey::parse(text, "the run's key"));
  return ok_status();
}

Status Trainer::restore() {
  Result<std::string> lineage = std::string();
  if (run_directory_) lineage = run_directory_->lineage();
  LEASEHOLD_RETURN_IF_ERROR(on_rank_0([&] { return lineage.status(); }));
  LEASEHOLD_ASSIGN_OR_RETURN(lineage, broadcast_bytes(world_, stream_, *lineage, 0, deadline()));
  found_lineage_ = *lineage;
  std::optional<MemorySources> memory;
  if (options_.snapshot != SnapshotMode::kOff) LEASEHOLD_RETURN_IF_ERROR(take_run_key());
  if (options_.snapshot != SnapshotMode::kOff && !lineage->empty()) {
    memory = {.directory = options_.memory.path, .lineage = *lineage, .key = key_, .nodes = {}};
    for (const FailureDomain& rank : options_.ranks) memory->nodes.push_back(rank.node);
  }
  std::vector<CheckpointRejected> rejected;
  const std::vector<StateSlice> wanted = engine_.needed_slices();
  auto restored = restore_newest(
      work_, options_.run_dir, memory,
      [this](const CheckpointHandle& checkpoint) { return accept(checkpoint); }, wanted, world_,
      stream_, rejected);
  for (const CheckpointRejected& bad : rejected)
    event("checkpoint_rejected", bad.reason, {{"checkpoint", bad.path}});
  LEASEHOLD_RETURN_IF_ERROR(restored.status());
  if (restored->has_value()) {
    if ((*restored)->from_memory) LEASEHOLD_RETURN_IF_ERROR(take_texts_of(**restored));
    LEASEHOLD_RETURN_IF_ERROR(resume_from(**restored));
  } else {
    LEASEHOLD_RETURN_IF_ERROR(start_anew());
  }
  LEASEHOLD_RETURN_IF_ERROR(agree_on_arithmetic());
  if (*lineage != info_.lineage) {
    LEASEHOLD_RETURN_IF_ERROR(
        on_rank_0([&] { return run_directory_->set_lineage(info_.lineage); }));
  }
  return start_keeping(*restored);
}

// Rank by rank: a directory that nobody changes any more.
Result<CheckpointHandle> Trainer::open_start(FileSystem& files) const {
  Result<CheckpointHandle> start = open_checkpoint(files, options_.start_from);
  if (!start.ok()) return start.status().annotated("run.start_from");
  std::string differences;
  for (const auto& [key, value] : options_.job.model) {
    if (options_.start_may_differ.contains(key)) continue;
    const auto found = start->info.model.find(key);
    if (found != start->info.model.end() && found->second != value)
      differences +=
          fmt::format("\n  model.{}: {} in it, {} in the job", key, found->second, value);
  }
  if (!differences.empty()) {
    return error(
        Code::kBadConfig,
        "run.start_from: {} holds another model:{}\nWrite its values into the job file, or "
        "start from another checkpoint",
        start->path, differences);
  }
  const Status fits = check_parameters(*start, engine_.parameter_shapes());
  if (!fits.ok()) return Status(Code::kBadConfig, "run.start_from: " + fits.message());
  return start;
}

Status Trainer::load_start(const CheckpointHandle& start) {
  LEASEHOLD_ASSIGN_OR_RETURN(const Digest128 digest,
                             state_digest_together(work_, start, world_, stream_));
  std::vector<StateSlice> weights = engine_.needed_slices();
  std::erase_if(weights, [](const StateSlice& slice) { return slice.kind != StateKind::kWeight; });
  LEASEHOLD_RETURN_IF_ERROR(load_together(work_, start, weights, world_, stream_));
  LEASEHOLD_RETURN_IF_ERROR(engine_.finish_restore());
  info_.identity[kStartDigestKey] = digest.to_hex();
  info_.identity[kStartOriginKey] = origin_of(start.info);
  if (inherit_model_files(info_, start.info, same_tokenizer(info_, start.info))) {
    event("model_files_dropped",
          "the data has another tokenizer than run.start_from: generation_config.json and the "
          "tokenizer's files that came with that are not kept");
  }
  event(
      "initialized",
      fmt::format("weights of step {} from {}; starting from step 0", start.info.step, start.path),
      {{"lineage", info_.lineage}, {"state_digest", digest.to_hex()}});
  return ok_status();
}

// Whether a run that is there began as the job says. What it began from may be gone by now.
Status Trainer::accept_start(const CheckpointInfo& found) const {
  const auto began = found.identity.find(kStartOriginKey);
  const bool began_from_one = began != found.identity.end();
  if (options_.start_from.empty()) {
    if (!began_from_one || options_.fork) return ok_status();
    return error(Code::kBadConfig,
                 "the run in {} began from a checkpoint ({}), and the job has no run.start_from: "
                 "write it again, or choose another run.dir",
                 options_.run_dir, began->second);
  }
  if (!began_from_one) {
    return error(Code::kBadConfig,
                 "run.start_from: the run in {} is there already and did not begin from a "
                 "checkpoint: leave run.start_from out to go on with it, or choose another run.dir",
                 options_.run_dir);
  }
  const Result<CheckpointHandle> start = open_checkpoint(files_, options_.start_from);
  if (!start.ok() || origin_of(start->info) == began->second) return ok_status();
  return error(Code::kBadConfig,
               "run.start_from: {} is {}, but the run in {} began from {}: name that one again, or "
               "choose another run.dir",
               options_.start_from, origin_of(start->info), options_.run_dir, began->second);
}

Status Trainer::start_anew() {
  const auto start = std::make_shared<CheckpointHandle>();
  if (!options_.start_from.empty()) {
    LEASEHOLD_RETURN_IF_ERROR(work_.together(
        world_, stream_, "run.start_from", [this, start](FileSystem& files) -> Status {
          LEASEHOLD_ASSIGN_OR_RETURN(*start, open_start(files));
          return ok_status();
        }));
  }
  LEASEHOLD_ASSIGN_OR_RETURN(info_.lineage,
                             broadcast_bytes(world_, stream_, new_lineage(), 0, deadline()));
  LEASEHOLD_RETURN_IF_ERROR(engine_.initialize());
  if (!options_.start_from.empty()) return load_start(*start);
  event("initialized", "no checkpoint in run.dir: starting from step 0",
        {{"lineage", info_.lineage}});
  return ok_status();
}

Status Trainer::resume_from(const Restored& restored) {
  LEASEHOLD_RETURN_IF_ERROR(engine_.finish_restore());
  const CheckpointHandle& checkpoint = restored.checkpoint;
  const CheckpointInfo& found = checkpoint.info;
  info_.step = found.step;
  info_.num_skipped = found.num_skipped;
  info_.num_skipped_in_row = found.num_skipped_in_row;
  info_.data_position = found.data_position;
  info_.lineage = found.lineage;
  info_.parent_lineage = found.parent_lineage;
  info_.fork_step = found.fork_step;
  info_.metrics_line = found.metrics_line;
  info_.identity = identity_of(info_, found);
  inherit_model_files(info_, found, same_tokenizer(info_, found));
  saved_step_ = restored.from_memory ? -1 : found.step;
  if (options_.fork) {
    start_fork(info_, found);
    LEASEHOLD_ASSIGN_OR_RETURN(info_.lineage,
                               broadcast_bytes(world_, stream_, info_.lineage, 0, deadline()));
    LEASEHOLD_RETURN_IF_ERROR(
        on_rank_0([&] { return run_directory_->fork_metrics(found.step, found.lineage); }));
    saved_step_ = -1;
  }
  if (options_.report_arithmetic) {
    if (!options_.fork) LEASEHOLD_RETURN_IF_ERROR(try_algorithms(found.algorithms));
    const Status same_set = check_kernel_set(found.cpu_kernels, info_.cpu_kernels);
    if (!same_set.ok()) {
      event("cpu_kernels_differ",
            fmt::format("{} so far, {} from here on", found.cpu_kernels, info_.cpu_kernels));
    }
    const Status alike = compare_arithmetic(arithmetic_.digests, found.arithmetic_class);
    if (!alike.ok()) event("arithmetic_differs", alike.message());
  }
  event("restored", fmt::format("step {} from {}", found.step, checkpoint.path),
        {{"checkpoint", checkpoint.path}, {"lineage", info_.lineage}});
  return ok_status();
}

// Collective. Descriptions in memory name the long texts by digest. Where those are not the job's
// own, rank 0 reads them from run.dir; texts that are gone are told and no reason to lose a state.
Status Trainer::take_texts_of(Restored& restored) {
  CheckpointInfo& info = restored.checkpoint.info;
  if (digest_of_texts(options_.job) == restored.texts) {
    info.tokenizer_json = options_.job.tokenizer_json;
    info.model_files = options_.job.model_files;
    return ok_status();
  }
  std::string text;
  if (world_.rank() == 0) {
    const Result<std::string> found = read_texts(files_, options_.run_dir, restored.texts);
    if (found.ok()) text = *found;
    if (!found.ok()) event("model_files_dropped", found.status().message());
  }
  LEASEHOLD_ASSIGN_OR_RETURN(text, broadcast_bytes(world_, stream_, text, 0, deadline()));
  if (text.empty()) {
    info.tokenizer_json = options_.job.tokenizer_json;
    return ok_status();
  }
  return put_texts(text, info);
}

// What this rank's node holds of older generations is of no use any more, but for the snapshot that
// the state was restored from: that one stays until this generation has committed its own.
Status Trainer::start_keeping(const std::optional<Restored>& restored) {
  show_progress();
  const bool from_memory = restored && restored->from_memory;
  remove_snapshots([&](const std::string& slot, const SlotName& name) {
    return name.generation < info_.generation && !(from_memory && restored->slots.contains(slot));
  });
  const bool has_own_texts = digest_of_texts(info_) != digest_of_texts(options_.job);
  if (options_.snapshot != SnapshotMode::kOff && has_own_texts) {
    LEASEHOLD_RETURN_IF_ERROR(
        on_rank_0([&] { return keep_texts(files_, options_.run_dir, info_); }));
  }
  double mtbf_s = 0;
  if (options_.checkpoint_interval_auto) {
    const double own_s =
        run_directory_ ? mean_time_between_failures_s(run_directory_->failure_history()) : 0;
    LEASEHOLD_ASSIGN_OR_RETURN(
        const std::string text,
        broadcast_bytes(world_, stream_, fmt::format("{}", own_s), 0, deadline()));
    mtbf_s = std::stod(text);
    event("checkpoint_interval",
          fmt::format("from the measured time of a save and {:.0f} s between failures", mtbf_s));
  }
  LEASEHOLD_ASSIGN_OR_RETURN(
      keeper_, StateKeeper::create({.run_dir = options_.run_dir,
                                    .mode = options_.snapshot,
                                    .checkpoint_every_steps = options_.checkpoint_every_steps,
                                    .keep_every_steps = options_.keep_every_steps,
                                    .mtbf_s = mtbf_s,
                                    .ranks = options_.ranks,
                                    .memory = options_.memory,
                                    .key = key_,
                                    .older_lineages = older_lineages(found_lineage_, info_.lineage),
                                    .from_memory = from_memory,
                                    .must_fit = !restored.has_value(),
                                    .timeout_s = options_.timeout_s,
                                    .tidy = tidy()},
                                   engine_, info_, saves_, world_, stream_,
                                   [this](const auto& name, const auto& reason,
                                          const auto& details) { event(name, reason, details); }));
  return ok_status();
}

}  // namespace leasehold
