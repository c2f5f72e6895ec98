#include "runtime/train/rank_parts.h"

#include <algorithm>

#include "runtime/train/engine.h"
#include "runtime/train/lane_gradients.h"
#include "runtime/train/streamed_gradients.h"

namespace leasehold {

namespace {

// One rank has nothing to shard: it keeps whole buffers.
int effective_stage(int zero_stage, int num_data_ranks) {
  return num_data_ranks == 1 ? std::min(zero_stage, 1) : zero_stage;
}

}  // namespace

// What happens around the units of one part: weights come and go, gradients leave.
class RankParts::Hooks : public UnitHooks {
 public:
  Hooks(RankPart& part, int index, Materializer* materializer)
      : part_(part), index_(index), materializer_(materializer) {}

  void before_forward(Module& unit) override { enter(unit_of(unit)); }
  void after_forward(Module& unit) override { leave(unit_of(unit)); }
  void before_backward(Module& unit) override {
    const int64_t i = unit_of(unit);
    enter(i);
    part_.gradients->before_backward(i);
  }
  void after_backward(Module& unit) override {
    const int64_t i = unit_of(unit);
    part_.gradients->after_backward(i);
    leave(i);
  }

 private:
  int64_t unit_of(const Module& unit) const {
    const auto& names = part_.plan.unit_names;
    const auto found = std::find(names.begin(), names.end(), unit.name());
    LEASEHOLD_CHECK(found != names.end(), "{} is no unit of this part", unit.name());
    return found - names.begin();
  }
  void enter(int64_t unit) {
    if (materializer_ != nullptr) materializer_->enter({index_, unit});
  }
  void leave(int64_t unit) {
    if (materializer_ != nullptr) materializer_->leave({index_, unit});
  }

  RankPart& part_;
  int index_;
  Materializer* materializer_;
};

RankPart::RankPart(const ModelPart& part, const MeshShape& mesh, const EngineOptions& options,
                   int zero_stage)
    : plan(part),
      table(part.parameters, part.slots, mesh),
      layout(make_flat_layout(table, mesh.data, options.bucket_bytes,
                              zero_stage >= 2 ? part.unit_of : std::vector<int>{})) {}

RankParts::RankParts(const EngineOptions& options, Mesh& mesh, Kernels& kernels,
                     const Streams& streams, const StepBatch& batch)
    : options_(options),
      mesh_(mesh),
      kernels_(kernels),
      streams_(streams),
      step_batch_(batch),
      stage_(mesh.coordinates().pipeline),
      num_stages_(mesh.shape().pipeline),
      data_(create_measured_communicator(mesh.group(Axis::kData), *streams.meter)),
      tensor_(mesh.shape().tensor == 1 ? nullptr : &mesh.group(Axis::kTensor)),
      zero_stage_(effective_stage(options.zero_stage, mesh.shape().data)) {}

RankParts::~RankParts() = default;

Result<std::unique_ptr<RankParts>> RankParts::create(const ModelSource& source,
                                                     const EngineOptions& options, Mesh& mesh,
                                                     Kernels& kernels, const Streams& streams,
                                                     const StepBatch& batch, Arenas& arenas) {
  std::unique_ptr<RankParts> parts(new RankParts(options, mesh, kernels, streams, batch));
  LEASEHOLD_RETURN_IF_ERROR(parts->build(source, arenas));
  return parts;
}

Status RankParts::build(const ModelSource& source, Arenas& arenas) {
  if (options_.num_chunks > 1 && num_stages_ == 1) {
    return error(Code::kBadConfig,
                 "parallel.chunks = {} cuts pipeline stages, but parallel.pipeline = 1: write "
                 "parallel.chunks = 1, or a deeper pipeline",
                 options_.num_chunks);
  }
  LEASEHOLD_ASSIGN_OR_RETURN(
      plans_, cut_model(source.parameters, source.units, num_stages_ * options_.num_chunks));
  Communicator& data = *data_;
  for (int chunk = 0; chunk < options_.num_chunks; ++chunk) {
    const int number = chunk * num_stages_ + stage_;
    const ModelPart& plan = plans_[static_cast<size_t>(number)];
    parts_.push_back(std::make_unique<RankPart>(plan, mesh_.shape(), options_, zero_stage_));
    RankPart& part = *parts_.back();
    all_.push_back(&part);
    part.state = std::make_unique<ModelState>(
        part.layout, part.table, data, mesh_.coordinates().tensor, kernels_, zero_stage_, arenas);
  }
  create_gradients(arenas);
  return create_modules(source, arenas);
}

void RankParts::create_gradients(Arenas& arenas) {
  Communicator& data = *data_;
  const BatchOptions& batch = step_batch_.options();
  int64_t largest_shard = 0, largest_unit = 0;
  for (const auto& part : parts_) {
    largest_shard = std::max(largest_shard, part->layout.max_shard_elements);
    largest_unit = std::max(largest_unit, largest_unit_elements(part->plan, part->layout));
  }
  if (zero_stage_ >= 2) {
    exchange_ = std::make_unique<GradientExchange>(data, kernels_, batch.num_microbatches,
                                                   options_.reduction, largest_unit, largest_shard,
                                                   streams_, arenas);
  } else if (data.size() > 1 && options_.reduction == Reduction::kCanonical) {
    canonical_ = std::make_unique<CanonicalReduction>(
        data, kernels_, step_batch_.lanes(), batch.num_lanes, largest_shard, arenas.communication);
  }
  std::vector<const FlatLayout*> layouts;
  for (const auto& part : parts_) {
    if (zero_stage_ >= 2) {
      part->gradients = std::make_unique<StreamedGradients>(
          part->plan, part->layout, part->table, kernels_, batch.num_microbatches,
          options_.reduction, *exchange_, streams_, arenas);
    } else {
      part->gradients = std::make_unique<LaneGradients>(
          part->plan, part->layout, part->table, data, kernels_, batch,
          step_batch_.lanes()[static_cast<size_t>(data.rank())], canonical_.get(),
          options_.reduction, streams_, arenas);
    }
    part->replicated = std::make_unique<ReplicatedGradients>(
        part->layout, part->table, data.rank(), mesh_.group(Axis::kTensor), kernels_, arenas);
    layouts.push_back(&part->layout);
    reduced_.push_back(part->gradients->reduced_shard());
  }
  tied_ = std::make_unique<TiedGradients>(plans_, layouts, mesh_.group(Axis::kPipeline), kernels_,
                                          arenas);
}

Status RankParts::create_modules(const ModelSource& source, Arenas& arenas) {
  const auto own =
      static_cast<int64_t>(step_batch_.microbatches_of(mesh_.coordinates().data).size());
  actions_ = make_schedule(options_.schedule, {num_stages_, options_.num_chunks, own}, stage_);
  const std::vector<int64_t> places = largest_in_flight(actions_, options_.num_chunks);
  const int tensor = mesh_.shape().tensor;
  const Shape boundary{options_.B * options_.T / tensor, source.width};
  executor_ = std::make_unique<PipelineExecutor>(mesh_.group(Axis::kPipeline),
                                                 mesh_.pipeline_back(), options_.num_chunks, places,
                                                 boundary, kernels_.dtype(), streams_, arenas);

  std::vector<Materializer::Part> sharded;
  for (size_t chunk = 0; chunk < parts_.size(); ++chunk) {
    RankPart& part = *parts_[chunk];
    LEASEHOLD_ASSIGN_OR_RETURN(part.model,
                               source.create(part.table, part.plan.first_unit, part.plan.end_unit));
    for (int64_t place = 0; place < places[chunk]; ++place) {
      part.saved.push_back(part.model->prepare({.kernels = kernels_,
                                                .activations = arenas.activations,
                                                .scratch = arenas.scratch,
                                                .B = options_.B,
                                                .T = options_.T,
                                                .training = true,
                                                .recompute = options_.recompute,
                                                .tensor = tensor_}));
    }
    sharded.push_back({&part.plan, &part.layout, &part.table, part.state->value_shard()});
  }
  if (zero_stage_ >= 3) {
    materializer_ = std::make_unique<Materializer>(std::move(sharded), *data_, streams_,
                                                   kernels_.dtype(), arenas);
  }
  for (size_t chunk = 0; chunk < parts_.size(); ++chunk) {
    hooks_.push_back(
        std::make_unique<Hooks>(*parts_[chunk], static_cast<int>(chunk), materializer_.get()));
  }
  visits_ = visits_of(actions_);
  return ok_status();
}

std::vector<Materializer::Visit> RankParts::visits_of(
    const std::vector<PipelineAction>& actions) const {
  std::vector<Materializer::Visit> visits;
  for (const PipelineAction& action : actions) {
    const auto units =
        static_cast<int64_t>(parts_[static_cast<size_t>(action.chunk)]->plan.uses.size());
    for (int64_t i = 0; i < units; ++i)
      visits.push_back({action.chunk, action.pass == Pass::kForward ? i : units - 1 - i});
  }
  return visits;
}

void RankParts::compute_gradients(int64_t step, const BatchBuffers& batch) {
  step_ = step;
  batch_ = &batch;
  training_ = true;
  if (materializer_) materializer_->begin(visits_);
  executor_->run(actions_, *this);
  for (const auto& part : parts_) part->gradients->finish();
  tied_->add(reduced_, streams_);
  for (size_t i = 0; i < parts_.size(); ++i)
    parts_[i]->replicated->sum(reduced_[i], *streams_.compute);
}

void RankParts::compute_losses(int64_t count, const BatchBuffers& batch) {
  std::vector<PipelineAction> actions;
  for (int64_t i = 0; i < count; ++i) {
    for (int chunk = 0; chunk < options_.num_chunks; ++chunk)
      actions.push_back({Pass::kForward, chunk, i});
  }
  const std::vector<Materializer::Visit> visits = visits_of(actions);
  step_ = 0;
  batch_ = &batch;
  training_ = false;
  if (materializer_) materializer_->begin(visits);
  executor_->run(actions, *this);
}

StepContext RankParts::context_of(const PipelineAction& action, const Microbatch& microbatch,
                                  Write write) {
  return {.kernels = kernels_,
          .stream = *streams_.compute,
          .hooks = *hooks_[static_cast<size_t>(action.chunk)],
          .microbatch = microbatch,
          .seed = options_.seed,
          .training = training_,
          .gradients = write,
          .tensor = tensor_};
}

void RankParts::forward(const PipelineAction& action, int64_t place, Tensor input, Tensor output) {
  RankPart& part = *parts_[static_cast<size_t>(action.chunk)];
  const Microbatch microbatch = microbatch_of(action);
  StepContext context = context_of(action, microbatch, Write::kOverwrite);
  part.model->forward(context, input, output, *part.saved[static_cast<size_t>(place)]);
}

void RankParts::backward(const PipelineAction& action, int64_t place, Tensor output_gradient,
                         Tensor input_gradient) {
  RankPart& part = *parts_[static_cast<size_t>(action.chunk)];
  const Microbatch microbatch = microbatch_of(action);
  const Write write = part.gradients->begin_microbatch(action.microbatch);
  StepContext context = context_of(action, microbatch, write);
  part.model->backward(context, output_gradient, input_gradient,
                       *part.saved[static_cast<size_t>(place)]);
  part.gradients->end_microbatch();
}

Microbatch RankParts::microbatch_of(const PipelineAction& action) const {
  Microbatch microbatch = batch_->microbatch(action.microbatch);
  if (!training_) return microbatch;
  const auto& own = step_batch_.microbatches_of(mesh_.coordinates().data);
  microbatch.step = static_cast<uint64_t>(step_);
  microbatch.index = static_cast<uint64_t>(own[static_cast<size_t>(action.microbatch)]);
  return microbatch;
}

GradientNorm RankParts::make_norm() const {
  const MeshShape& shape = mesh_.shape();
  std::vector<NormTree> trees;
  for (const ModelPart& plan : plans_) {
    const ParameterTable table(plan.parameters, plan.slots, shape);
    for (const auto& parameter : table.all()) {
      for (int piece = 0; piece < shape.tensor; ++piece) {
        if (stores_parameter(*parameter, piece)) trees.push_back({parameter->name(), piece});
      }
    }
  }
  std::ranges::sort(trees);
  MeshCoordinates at = mesh_.coordinates();
  std::vector<NormPart> own;
  for (const RankPart* part : all_) {
    NormPart& norm = own.emplace_back(NormPart{.layout = &part->layout, .piece = at.tensor});
    for (const auto& parameter : part->table.all())
      norm.counted.push_back(stores_parameter(*parameter, at.tensor));
  }
  const int shard = at.data;
  std::vector<int> world_ranks;
  for (at.data = 0; at.data < shape.data; ++at.data) world_ranks.push_back(rank_of(at, shape));
  return GradientNorm(own, shard, trees, std::move(world_ranks));
}

}  // namespace leasehold
