#include "launch/plan/job_plan.h"

#include <algorithm>
#include <cmath>

namespace leasehold {

namespace {

constexpr int64_t kMostChunks = 8;
// The published rows are of other programs. Leasehold's kernels have been timed on CPUs only.
constexpr double kUntimedKernels = 0.30;
constexpr double kTimedKernels = 0.10;

Precision precision_of(const JobFile& job) {
  return job.device.precision == "bf16" ? Precision::kBf16 : Precision::kFp32;
}

Recomputing recomputing_of(const std::string& recompute) {
  if (recompute == "attention") return Recomputing::kAttention;
  return recompute == "block" ? Recomputing::kLayers : Recomputing::kNothing;
}

ModelShape shape_of(const ModelConfig& model) {
  return {.layers = model.layers,
          .hidden = model.hidden,
          .heads = model.heads,
          .kv_heads = model.kv_heads,
          .head_dim = model.head_dim(),
          .ffn = model.ffn,
          .vocab = model.vocab,
          .sequence = model.sequence,
          .gated = model.family == "llama"};
}

// Describes Leasehold: attention by mma.sync, which is the instruction of FlashAttention-2; two
// more gathers in a block's backward; gradients in fp32.
Software own_software() {
  return {.attention = AttentionKernel::kFlash2,
          .overlaps = true,
          .overlaps_tensor = false,
          .tensor_exchanges = 10,
          .scatters_every_microbatch = true,
          .gradient_bytes = 4};
}

// Copies of the model that take part: at most one for each lane.
int64_t copies_of(const JobFile& job, int64_t world) {
  const int64_t ranks = job.parallel.tensor * job.parallel.pipeline;
  return std::min(job.batch.lanes, world / ranks);
}

StepQuestion question_of(const JobFile& job, int64_t copies) {
  // The slowest copy computes one lane more than the others where they do not divide.
  const int64_t lanes = (job.batch.lanes + copies - 1) / copies;
  StepQuestion question{.model = shape_of(job.model),
                        .precision = precision_of(job),
                        .tensor = job.parallel.tensor,
                        .pipeline = job.parallel.pipeline,
                        .chunks = job.parallel.chunks,
                        .data = copies,
                        .sharding = static_cast<Sharding>(job.parallel.zero),
                        .microbatch = job.batch.microbatch,
                        .microbatches = lanes * (job.batch.num_microbatches() / job.batch.lanes),
                        .recomputing = recomputing_of(job.parallel.recompute),
                        .software = own_software()};
  if (job.parallel.schedule == "gpipe") question.schedule = PipelineSchedule::kGpipe;
  return question;
}

std::vector<int64_t> divisors_up_to(int64_t number, int64_t most) {
  std::vector<int64_t> divisors;
  for (int64_t i = 1; i <= std::min(number, most); ++i) {
    if (number % i == 0) divisors.push_back(i);
  }
  return divisors;
}

// The divisors of `number`, and the powers of two that somebody would try.
std::vector<int64_t> degrees_up_to(int64_t number, int64_t most) {
  std::vector<int64_t> degrees = divisors_up_to(number, most);
  for (int64_t i = 1; i <= most; i *= 2) degrees.push_back(i);
  std::sort(degrees.begin(), degrees.end());
  degrees.erase(std::unique(degrees.begin(), degrees.end()), degrees.end());
  return degrees;
}

// Layouts to weigh, the job's own among them. Of pipelines that do not divide the layers one each,
// to be refused.
std::vector<JobLayout> layouts_to_weigh(const JobFile& job, const Hardware& hardware,
                                        int64_t world) {
  std::vector<JobLayout> layouts = {own_job_layout(job)};
  for (const int64_t tensor : degrees_up_to(job.model.heads, std::min(world, hardware.domain))) {
    for (const int64_t pipeline : degrees_up_to(job.model.layers, world / tensor)) {
      if (job.model.layers % pipeline != 0 || job.model.heads % tensor != 0) {
        layouts.push_back({tensor, {.pipeline = pipeline}});
        continue;
      }
      for (const int64_t chunks :
           divisors_up_to(job.model.layers / pipeline, pipeline == 1 ? 1 : kMostChunks)) {
        for (int64_t zero = 0; zero <= 3; ++zero) {
          layouts.push_back({tensor, {.pipeline = pipeline, .chunks = chunks, .zero = zero}});
        }
      }
    }
  }
  std::sort(layouts.begin(), layouts.end());
  layouts.erase(std::unique(layouts.begin(), layouts.end()), layouts.end());
  return layouts;
}

}  // namespace

std::string in_words(const JobLayout& layout) {
  return fmt::format("tensor {}, {}", layout.tensor, in_words(layout.layout));
}

JobLayout own_job_layout(const JobFile& job) {
  return {job.parallel.tensor,
          {.pipeline = job.parallel.pipeline,
           .chunks = job.parallel.chunks,
           .zero = job.parallel.zero}};
}

JobFile with_layout(JobFile job, const JobLayout& layout) {
  job.parallel.tensor = layout.tensor;
  job.parallel.pipeline = layout.layout.pipeline;
  job.parallel.chunks = layout.layout.chunks;
  job.parallel.zero = layout.layout.zero;
  return job;
}

Hardware hardware_of_rank(const JobFile& job, const Hardware& hardware) {
  Hardware scaled = hardware;
  if (!hardware.per_thread) return scaled;
  const auto threads = static_cast<double>(job.device.threads);
  for (double& rate : scaled.products.values) rate *= threads;
  for (AttentionSpeed* speed :
       {&scaled.attention, &scaled.attention_flash2, &scaled.attention_flash1}) {
    speed->forward *= threads;
    speed->backward *= threads;
  }
  scaled.memory_bytes_s *= threads;
  return scaled;
}

Result<PlannedLayout> plan_layout(const JobFile& job, const Hardware& hardware, int64_t world) {
  const int64_t copies = copies_of(job, world);
  const StepQuestion question = question_of(job, copies);
  const std::string missing = missing_figures(question, hardware);
  if (!missing.empty()) return Status(Code::kBadConfig, missing);
  PlannedLayout planned{.layout = own_job_layout(job),
                        .ranks = copies * job.parallel.tensor * job.parallel.pipeline,
                        .time = step_time(question, hardware_of_rank(job, hardware)),
                        .step = {}};
  const double width = hardware.measured_here ? kTimedKernels : kUntimedKernels;
  const double seconds = planned.time.total_s();
  planned.step = {
      .seconds = seconds, .low_s = seconds * std::exp(-width), .high_s = seconds * std::exp(width)};
  return planned;
}

Result<JobPlan> plan_job(const JobFile& job, const Hardware& hardware, int64_t world) {
  JobPlan plan;
  for (const JobLayout& layout : layouts_to_weigh(job, hardware, world)) {
    const JobFile candidate = with_layout(job, layout);
    const int64_t ranks = layout.tensor * layout.layout.pipeline;
    const int64_t copies = std::min(job.batch.lanes, world / ranks);
    if (copies == 0) {
      plan.refused.push_back({layout, fmt::format("a copy of the model takes {} ranks, and there "
                                                  "are {}",
                                                  ranks, world)});
      continue;
    }
    const Status valid = validate(candidate, static_cast<int>(copies * ranks));
    if (!valid.ok()) {
      plan.refused.push_back({layout, valid.message()});
      continue;
    }
    LEASEHOLD_ASSIGN_OR_RETURN(PlannedLayout planned, plan_layout(candidate, hardware, world));
    plan.layouts.push_back(std::move(planned));
  }
  std::stable_sort(plan.layouts.begin(), plan.layouts.end(),
                   [](const auto& a, const auto& b) { return a.step.seconds < b.step.seconds; });
  if (!plan.layouts.empty()) return plan;
  const RefusedLayout& own = plan.refused.front();
  return error(Code::kBadConfig, "no layout of {} ranks can train this job; {}: {}", world,
               in_words(own.layout), own.why);
}

}  // namespace leasehold
