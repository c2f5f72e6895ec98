#include "launch/compose.h"

#include <optional>
#include <sched.h>
#include <unistd.h>

#include "collectives/nccl.h"
#include "models/family.h"
#include "models/gpt.h"
#include "runtime/device/cuda.h"
#include "runtime/device/planned_device.h"
#include "runtime/tensor/kernels_cuda.h"
#include "runtime/tensor/kernels_cuda_sizes.h"

namespace leasehold {

namespace {

// Share of a collective's timeout that reading data may take, so that a rank whose disk does not
// answer reports it before the others give up the collective.
constexpr double kReadShare = 0.8;

DType dtype_of(const DeviceSection& section) {
  return section.precision == "bf16" ? DType::kBf16 : DType::kF32;
}

Result<ComputeDevice> make_cuda_device(DType dtype, const NodePlace& place, double timeout_s,
                                       double wait_limit_s) {
  ComputeDevice made;
  const auto index = cuda_device_of_rank(place.rank);
  auto device = index.ok() ? create_cuda_device(*index, wait_limit_s)
                           : Result<std::unique_ptr<Device>>(index.status());
  if (!device.ok() && place.node.empty()) return device.status();
  if (!device.ok()) {
    return device.status().annotated(
        place.size == 1 ? "node " + place.node
                        : fmt::format("node {} with {} ranks", place.node, place.size));
  }
  made.device = std::move(device).value();
  LEASEHOLD_ASSIGN_OR_RETURN(made.kernels, create_cuda_kernels(*made.device, dtype));
  made.make_group = nccl_group_maker(*made.device, timeout_s);
  return made;
}

}  // namespace

Result<ComputeDevice> make_device(const DeviceSection& section, const NodePlace& place,
                                  double timeout_s) {
  const DType dtype = dtype_of(section);
  const double wait_limit_s = after_group_timeout(timeout_s).remaining_s();
  if (section.kind == "cuda") return make_cuda_device(dtype, place, timeout_s, wait_limit_s);
  auto cpu = CpuDevice::create({.num_threads = static_cast<int>(section.threads),
                                .asynchronous = section.mode == "asynchronous",
                                .delay_seed = static_cast<uint64_t>(section.delay_seed),
                                .wait_limit_s = wait_limit_s});
  ComputeDevice made;
  made.kernels = create_cpu_kernels(*cpu, dtype);
  made.device = std::move(cpu);
  return made;
}

ComputeDevice plan_cuda_device(const DeviceSection& section) {
  ComputeDevice planned;
  planned.device = create_planned_device(DeviceKind::kCuda);
  planned.kernels = create_planned_cuda_kernels(dtype_of(section));
  return planned;
}

Status check_binding(int64_t threads, int64_t bound_cores, int64_t machine_cores) {
  if (bound_cores >= machine_cores || threads <= bound_cores) return ok_status();
  return error(Code::kBadConfig,
               "device.threads = {}, but this rank is bound to {} of the machine's {} cores: start "
               "mpirun with --bind-to "
               "none (or --map-by slot:pe={}), or set device.threads = {}",
               threads, bound_cores, machine_cores, threads, bound_cores);
}

int64_t count_bound_cores() {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  return ::sched_getaffinity(0, sizeof cores, &cores) == 0 ? CPU_COUNT(&cores)
                                                           : count_machine_cores();
}

int64_t count_machine_cores() { return ::sysconf(_SC_NPROCESSORS_ONLN); }

ArithmeticProbe make_probe(const ModelConfig& model, int64_t microbatch, int64_t tensor) {
  const FamilyOptions family = family_options(model);
  std::optional<Rotary> rotary;
  if (!family.position_table) rotary = rotary_of(model);
  return {.hidden = model.hidden,
          .ffn = model.ffn,
          .heads = model.heads,
          .kv_heads = model.kv_heads,
          .vocab = model.vocab,
          .T = model.sequence,
          .B = microbatch,
          .norm_eps = model.norm_eps,
          .rms_norm = family.rms_norm,
          .gated_mlp = family.gated_mlp,
          .rotary = rotary,
          .dropout = model.dropout,
          .tensor = tensor};
}

MeshShape make_mesh_shape(const ParallelSection& parallel, int num_ranks) {
  MeshShape shape{.pipeline = static_cast<int>(parallel.pipeline),
                  .tensor = static_cast<int>(parallel.tensor)};
  shape.data = num_ranks / (shape.pipeline * shape.tensor);
  return shape;
}

namespace {

Recompute recompute_of(const std::string& text) {
  if (text == "attention") return Recompute::kAttention;
  return text == "block" ? Recompute::kBlock : Recompute::kNone;
}

}  // namespace

EngineOptions make_engine_options(const JobFile& job) {
  const OptimizerSection& optimizer = job.optimizer;
  return {.B = job.batch.microbatch,
          .T = job.model.sequence,
          .batch = {.num_microbatches = job.batch.num_microbatches(), .num_lanes = job.batch.lanes},
          .steps = job.run.steps,
          .seed = static_cast<uint64_t>(job.run.seed),
          .optimizer = {.lr = optimizer.lr,
                        .min_lr = optimizer.min_lr,
                        .warmup_steps = optimizer.warmup_steps,
                        .weight_decay = optimizer.weight_decay,
                        .beta1 = optimizer.beta1,
                        .beta2 = optimizer.beta2,
                        .eps = optimizer.eps,
                        .grad_clip = optimizer.grad_clip},
          .zero_stage = static_cast<int>(job.parallel.zero),
          .schedule = job.parallel.schedule == "gpipe" ? PipelineSchedule::kGpipe
                                                       : PipelineSchedule::kOneForwardOneBackward,
          .num_chunks = static_cast<int>(job.parallel.chunks),
          .reduction = job.parallel.reduction == "fast" ? Reduction::kFast : Reduction::kCanonical,
          .recompute = recompute_of(job.parallel.recompute),
          .timeout_s = job.launch.stuck_timeout_s,
          .rehearse = job.device.kind == "cuda"};
}

TrainerOptions make_trainer_options(const JobFile& job, const std::string& data_digest,
                                    const std::string& node) {
  TrainerOptions options;
  options.run_dir = job.run.dir;
  options.start_from = job.run.start_from;
  options.steps = job.run.steps;
  options.validate_every_steps = job.run.validate_every_steps;
  options.checkpoint_every_steps = job.checkpoint.every_steps;
  options.checkpoint_interval_auto = job.checkpoint.interval == "auto";
  options.checkpoints_kept = job.checkpoint.keep;
  options.keep_every_steps = job.checkpoint.keep_every;
  options.stall_s = job.checkpoint.stall_timeout_s;
  options.snapshot = job.checkpoint.snapshot == "off"    ? SnapshotMode::kOff
                     : job.checkpoint.snapshot == "auto" ? SnapshotMode::kAuto
                                                         : SnapshotMode::kEvery;
  options.report_arithmetic = job.run.identity == "report";
  options.replays_repeat_bits = job.run.identity != "report" && job.parallel.reduction != "fast";
  options.skip_nonfinite = job.optimizer.nonfinite == "skip";
  options.max_skipped_steps = job.optimizer.max_skipped_steps;
  options.timeout_s = job.launch.stuck_timeout_s;
  options.node = node;
  options.job.seed = static_cast<uint64_t>(job.run.seed);
  options.job.identity = identity_keys(job);
  options.job.identity[kDataDigestKey] = data_digest;
  options.job.model = to_map(job.model);
  // Neither affects the shape of a weight, except of a position table, whose shape is checked when
  // it is loaded.
  options.start_may_differ = {"dropout", "sequence"};
  options.job.tokenizer_json = job.tokenizer_json;
  return options;
}

Result<TokenLoaders> open_data(FileSystem& files, const JobFile& job) {
  const auto open = [&](const std::string& path) -> Result<std::unique_ptr<WindowLoader>> {
    LEASEHOLD_ASSIGN_OR_RETURN(
        TokenFile file, TokenFile::open(files, path, kReadShare * job.launch.stuck_timeout_s));
    LEASEHOLD_ASSIGN_OR_RETURN(
        WindowLoader loader,
        WindowLoader::create(std::move(file), job.model.sequence, job.model.vocab,
                             static_cast<uint64_t>(job.run.seed)));
    return std::make_unique<WindowLoader>(std::move(loader));
  };
  TokenLoaders loaders;
  LEASEHOLD_ASSIGN_OR_RETURN(loaders.train, open(job.data.train));
  if (!job.data.validation.empty()) {
    LEASEHOLD_ASSIGN_OR_RETURN(loaders.validation, open(job.data.validation));
  }
  return loaders;
}

}  // namespace leasehold
