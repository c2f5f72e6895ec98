#include "tests/runtime/train/layout_case.h"

namespace leasehold {

namespace {

const char* name_of(Recompute recompute) {
  return recompute == Recompute::kNone        ? ""
         : recompute == Recompute::kAttention ? "Attention"
                                              : "Block";
}

}  // namespace

std::string name_of(const LayoutCase& l) {
  return fmt::format("{}{}D{}P{}T{}C{}Z{}{}{}M{}", l.is_llama ? "Llama" : "Gpt2",
                     l.precision == DType::kF32 ? "" : dtype_name(l.precision), l.data, l.pipeline,
                     l.tensor, l.chunks, l.zero,
                     l.schedule == PipelineSchedule::kGpipe ? "Gpipe" : "", name_of(l.recompute),
                     l.microbatches);
}

SmallJob job_of(const LayoutCase& layout) {
  SmallJob job;
  ModelConfig model = job.model;
  model.layers = 4;
  model.vocab = 60;
  if (layout.is_llama) {
    model = {.family = "llama",
             .layers = 4,
             .hidden = 32,
             .heads = 8,
             .kv_heads = 4,
             .ffn = 48,
             .sequence = 12,
             .vocab = 60,
             .dropout = 0.1};
  }
  job.model = complete_model_config(model).value();
  job.options.recompute = layout.recompute;
  job.tensor = layout.tensor;
  job.precision = layout.precision;
  job.options.batch = {.num_microbatches = layout.microbatches, .num_lanes = layout.microbatches};
  job.options.zero_stage = layout.zero;
  job.options.schedule = layout.schedule;
  job.options.num_chunks = layout.chunks;
  job.pipeline = layout.pipeline;
  return job;
}

LayoutTrace train_layout(const SmallJob& job, const std::string& token_path, int ranks,
                         int64_t steps, const ThreadWorldOptions& world) {
  LayoutTrace trace;
  run_ranks(ranks, world, [&](Communicator& communicator) {
    SmallRank rank(job, token_path, communicator);
    LayoutTrace own;
    for (int64_t step = 0; step < steps; ++step) {
      const StepResult result = rank.engine().run_step(step, rank.loader(), {}).value();
      own.losses.push_back(result.loss);
      own.norms.push_back(result.gradient_norm);
    }
    const Evaluation evaluation =
        rank.engine().evaluate(rank.loader(), [] { return false; }).value();
    own.validation = fmt::format("{:.17g}", evaluation.mean_loss);
    own.state = gathered_state_digest(rank.engine(), communicator, rank.stream());
    if (communicator.rank() == 0) trace = own;
  });
  return trace;
}

}  // namespace leasehold
