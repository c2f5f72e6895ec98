// Implements validate(), which checks whether a job can run.
#include <algorithm>

#include "launch/job_file.h"
#include "models/describe_tensor.h"
#include "runtime/base/check.h"

namespace leasehold {

namespace {

// Returns the divisors of `number` that are at least `low`, ascending.
std::vector<int64_t> divisors(int64_t number, int64_t low) {
  std::vector<int64_t> found;
  for (int64_t d = 1; d * d <= number; ++d) {
    if (number % d != 0) continue;
    if (d >= low) found.push_back(d);
    if (d != number / d && number / d >= low) found.push_back(number / d);
  }
  std::sort(found.begin(), found.end());
  return found;
}

std::string in_words(const std::vector<int64_t>& values) {
  constexpr size_t kShown = 12;
  if (values.size() <= kShown) return fmt::format("{}", fmt::join(values, ", "));
  return fmt::format("{}, ..., {}", fmt::join(values.begin(), values.begin() + kShown, ", "),
                     values.back());
}

// Limited, since a schedule holds all microbatches.
constexpr int64_t kMaxMicrobatches = 1 << 20;

std::string microbatches_in_words(const BatchSection& batch) {
  return fmt::format("{} microbatches (batch.sequences {} / batch.microbatch {})",
                     batch.num_microbatches(), batch.sequences, batch.microbatch);
}

Status check_name(const std::string& name) {
  const auto is_alphanumeric = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  constexpr size_t kMaxLength = 64;
  bool fine = !name.empty() && name.size() <= kMaxLength && is_alphanumeric(name[0]);
  for (const char c : name) fine = fine && (is_alphanumeric(c) || c == '.' || c == '_' || c == '-');
  if (fine) return ok_status();
  return error(Code::kBadConfig,
               "run.name = \"{}\" is not a valid name: use at most {} letters, digits, '.', '_' "
               "and '-', beginning with a letter or digit",
               name, kMaxLength);
}

Status check_hosts(const std::string& hosts) {
  if (hosts == "local" || hosts == "ssh" || hosts.find('/') != std::string::npos) {
    return ok_status();
  }
  return error(Code::kBadConfig,
               "launch.hosts = \"{}\" is not a way to reach hosts: set \"local\", \"ssh\", or the "
               "path of an agent (with a '/')",
               hosts);
}

Status check_batch(const BatchSection& batch) {
  if (batch.sequences % batch.microbatch != 0) {
    return error(Code::kBadConfig,
                 "batch.microbatch = {} does not divide batch.sequences = {}; batch.microbatch may "
                 "be {}",
                 batch.microbatch, batch.sequences, in_words(divisors(batch.sequences, 1)));
  }
  const int64_t M = batch.num_microbatches();
  if (M > kMaxMicrobatches) {
    return error(Code::kBadConfig,
                 "batch.sequences = {} with batch.microbatch = {} makes {} microbatches per step, "
                 "but at most {} are possible: raise batch.microbatch",
                 batch.sequences, batch.microbatch, M, kMaxMicrobatches);
  }
  if (batch.lanes < 1 || M % batch.lanes != 0) {
    return error(Code::kBadConfig,
                 "batch.lanes = {} does not divide the {} of a step; batch.lanes may be {}",
                 batch.lanes, microbatches_in_words(batch), in_words(divisors(M, 1)));
  }
  return ok_status();
}

// Returns the error for fewer microbatches than data-parallel ranks.
Status too_few_microbatches(const BatchSection& batch, int64_t data_ranks) {
  std::string smaller;
  for (const int64_t microbatch : divisors(batch.sequences, 1)) {
    if (batch.sequences / microbatch < data_ranks) break;
    smaller = fmt::format("set batch.microbatch = {}, ", microbatch);
  }
  return error(Code::kBadConfig,
               "{} data-parallel ranks are more than the {} of a step: start at most {}, {}or set "
               "batch.sequences = {} or more",
               data_ranks, microbatches_in_words(batch), batch.num_microbatches(), smaller,
               data_ranks * batch.microbatch);
}

Status check_ranks(const JobFile& job, int64_t num_ranks) {
  if (num_ranks < job.launch.min_world) {
    return error(Code::kBadConfig,
                 "{} ranks are fewer than launch.min_world = {}: start more, or lower it",
                 num_ranks, job.launch.min_world);
  }
  if (num_ranks % job.parallel.tensor != 0 ||
      num_ranks / job.parallel.tensor % job.parallel.pipeline != 0) {
    return error(Code::kBadConfig,
                 "{} ranks cannot be divided into parallel.tensor = {} x parallel.pipeline = {}: "
                 "start a multiple of their product",
                 num_ranks, job.parallel.tensor, job.parallel.pipeline);
  }
  const int64_t data_ranks = num_ranks / job.parallel.tensor / job.parallel.pipeline;
  const int64_t M = job.batch.num_microbatches();
  if (M < data_ranks) return too_few_microbatches(job.batch, data_ranks);
  if (job.batch.lanes < data_ranks) {
    return error(Code::kBadConfig,
                 "{} data-parallel ranks are more than batch.lanes = {}: start at most {}, or set "
                 "batch.lanes = {}",
                 data_ranks, job.batch.lanes, job.batch.lanes,
                 fmt::join(divisors(M, data_ranks), " or "));
  }
  return ok_status();
}

Status check_pipeline(const JobFile& job) {
  const ParallelSection& parallel = job.parallel;
  const int64_t parts = parallel.pipeline * parallel.chunks;
  if (parallel.chunks > 1 && parallel.pipeline == 1) {
    return error(Code::kBadConfig,
                 "parallel.chunks = {} divides pipeline stages, but parallel.pipeline = 1: leave "
                 "parallel.chunks out, or set parallel.pipeline to more than 1",
                 parallel.chunks);
  }
  if (parallel.chunks > 1 && parallel.schedule == "gpipe") {
    return error(Code::kBadConfig,
                 "parallel.chunks = {} interleaves 1F1B, but parallel.schedule = \"gpipe\": set "
                 "\"1f1b\", or leave parallel.chunks out",
                 parallel.chunks);
  }
  if (parts > 1 && job.model.layers % parts != 0) {
    return error(Code::kBadConfig,
                 "parallel.pipeline = {} x parallel.chunks = {} does not divide model.layers = {}: "
                 "the product may be {}",
                 parallel.pipeline, parallel.chunks, job.model.layers,
                 in_words(divisors(job.model.layers, 1)));
  }
  return ok_status();
}

Status check_tensor(const JobFile& job) {
  const int64_t t = job.parallel.tensor;
  LEASEHOLD_ASSIGN_OR_RETURN(const ModelConfig model, complete_model_config(job.model));
  LEASEHOLD_RETURN_IF_ERROR(check_tensor_degree(model, t));
  return check_tensor_rows(job.batch.microbatch, model.sequence, t);
}

Status check_zero(const JobFile& job) {
  const int64_t M = job.batch.num_microbatches();
  if (job.parallel.zero < 2 || job.batch.lanes == M || job.parallel.reduction == "fast")
    return ok_status();
  return error(
      Code::kBadConfig,
      "parallel.zero = {} reduces each microbatch's gradients as they are produced, which needs as "
      "many lanes as microbatches: set batch.lanes = {} instead of {}, or parallel.zero = 1",
      job.parallel.zero, M, job.batch.lanes);
}

Status check_schedule(const JobFile& job) {
  const OptimizerSection& optimizer = job.optimizer;
  if (optimizer.min_lr > optimizer.lr) {
    return error(Code::kBadConfig,
                 "optimizer.min_lr = {} is above optimizer.lr = {}: lower it, or leave it out",
                 optimizer.min_lr, optimizer.lr);
  }
  if (optimizer.warmup_steps > job.run.steps) {
    return error(Code::kBadConfig,
                 "optimizer.warmup_steps = {} is above run.steps = {}: set {} or less",
                 optimizer.warmup_steps, job.run.steps, job.run.steps);
  }
  return ok_status();
}

Status check_checkpoint(const CheckpointSection& checkpoint) {
  if (checkpoint.interval != "auto") return ok_status();
  if (checkpoint.snapshot == "off") {
    return error(Code::kBadConfig,
                 "checkpoint.interval = \"auto\" writes checkpoints from snapshots: set "
                 "checkpoint.snapshot = \"auto\", or use checkpoint.every_steps instead");
  }
  if (checkpoint.every_steps > 0) {
    return error(Code::kBadConfig,
                 "checkpoint.interval = \"auto\" and checkpoint.every_steps = {} contradict each "
                 "other: leave one of them out",
                 checkpoint.every_steps);
  }
  return ok_status();
}

// Equals kMaxHeadChannels of runtime/tensor/cuda/attention.h.
constexpr int64_t kMaxGpuHeadChannels = 256;

Status check_gpu_attention(const ModelConfig& model) {
  const int64_t channels = model.hidden / model.heads;
  if (channels <= kMaxGpuHeadChannels) return ok_status();
  return error(
      Code::kBadConfig,
      "model.hidden / model.heads = {} channels per head are more than the {} that attention on "
      "device.kind = \"cuda\" supports: set model.heads = {} or more, or device.kind = \"cpu\"",
      channels, kMaxGpuHeadChannels,
      (model.hidden + kMaxGpuHeadChannels - 1) / kMaxGpuHeadChannels);
}

// Refuses keys without effect on the job's kind of device, and heads too wide for GPUs.
Status check_device(const DeviceSection& device, const ModelConfig& model) {
  if (device.kind == "cuda") {
    LEASEHOLD_RETURN_IF_ERROR(check_gpu_attention(model));
    const std::string key = device.threads != 1            ? "device.threads"
                            : device.cpu_kernels != "auto" ? "device.cpu_kernels"
                            : device.mode != "inline"      ? "device.mode"
                            : device.delay_seed != 0       ? "device.delay_seed"
                                                           : "";
    if (key.empty()) return ok_status();
    return error(
        Code::kBadConfig,
        "{} has no effect with device.kind = \"cuda\": leave it out, or set device.kind = \"cpu\"",
        key);
  }
  if (device.delay_seed > 0 && device.mode != "asynchronous") {
    return error(Code::kBadConfig,
                 "device.delay_seed = {} has no effect with device.mode = \"{}\": set device.mode "
                 "= \"asynchronous\", or leave it out",
                 device.delay_seed, device.mode);
  }
  return ok_status();
}

}  // namespace

Status validate(const JobFile& job, int num_ranks) {
  LEASEHOLD_CHECK(num_ranks > 0, "{} ranks", num_ranks);
  LEASEHOLD_RETURN_IF_ERROR(check_name(job.run.name));
  LEASEHOLD_RETURN_IF_ERROR(check_hosts(job.launch.hosts));
  LEASEHOLD_RETURN_IF_ERROR(complete_model_config(job.model).status());
  LEASEHOLD_RETURN_IF_ERROR(check_batch(job.batch));
  LEASEHOLD_RETURN_IF_ERROR(check_pipeline(job));
  LEASEHOLD_RETURN_IF_ERROR(check_tensor(job));
  LEASEHOLD_RETURN_IF_ERROR(check_zero(job));
  LEASEHOLD_RETURN_IF_ERROR(check_ranks(job, num_ranks));
  LEASEHOLD_RETURN_IF_ERROR(check_schedule(job));
  LEASEHOLD_RETURN_IF_ERROR(check_checkpoint(job.checkpoint));
  if (job.run.validate_every_steps > 0 && job.data.validation.empty()) {
    return error(Code::kBadConfig,
                 "run.validate_every_steps = {} but there is no validation data: set "
                 "data.validation, or leave the key out",
                 job.run.validate_every_steps);
  }
  return check_device(job.device, job.model);
}

}  // namespace leasehold
