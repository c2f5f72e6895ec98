#include "runtime/train/engine.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "runtime/comm/host_exchange.h"

namespace leasehold {

namespace {

constexpr int64_t kNumVotes = std::tuple_size_v<Votes>;

std::vector<ArenaSize> sizes_of(const Arenas& arenas) {
  std::vector<ArenaSize> sizes;
  for (const Arena* arena : arenas.all()) sizes.push_back({arena->name(), arena->peak_bytes()});
  return sizes;
}

struct Streams {
  std::unique_ptr<Event> event;  // outlives the streams' work
  std::unique_ptr<Stream> compute;
  std::unique_ptr<Stream> communication;
};

Result<Streams> create_streams(Device& device) {
  Streams streams;
  LEASEHOLD_ASSIGN_OR_RETURN(streams.compute, device.create_stream("compute"));
  LEASEHOLD_ASSIGN_OR_RETURN(streams.communication, device.create_stream("communication"));
  LEASEHOLD_ASSIGN_OR_RETURN(streams.event, device.create_event());
  return streams;
}

class EngineImplementation : public Engine {
 public:
  EngineImplementation(Kernels& kernels, Mesh& mesh, const ModelSource& source,
                       const EngineOptions& options, Streams& streams, Arenas& arenas)
      : kernels_(kernels),
        group_(mesh.group(Axis::kData)),
        options_(options),
        streams_(streams),
        arenas_(arenas),
        table_(source.parameters, mesh.shape()),
        layout_(make_flat_layout(table_, group_.size(), options.bucket_bytes)),
        norm_(layout_) {}

  // Everything that allocates, in one order for measuring and for real.
  Status build(const ModelSource& source) {
    state_ = std::make_unique<ModelState>(layout_, table_, group_, kernels_, options_.zero_stage,
                                          arenas_);
    LEASEHOLD_ASSIGN_OR_RETURN(
        gradients_,
        Gradients::create(layout_, table_, group_, kernels_, options_.batch, options_.reduction,
                          *streams_.compute, *streams_.communication, *streams_.event, arenas_));
    LEASEHOLD_ASSIGN_OR_RETURN(model_, source.create(table_));
    saved_ = model_->prepare({.kernels = kernels_,
                              .activations = arenas_.activations,
                              .scratch = arenas_.scratch,
                              .B = options_.B,
                              .T = options_.T,
                              .training = true});
    const auto own = static_cast<int64_t>(gradients_->microbatches().size());
    batch_ = std::make_unique<BatchBuffers>(own, options_.B, options_.T, arenas_);
    evaluator_ = std::make_unique<Evaluator>(*model_, *saved_, kernels_, options_.B, options_.T,
                                             *streams_.compute, arenas_);
    chunk_sums_ = arenas_.batch.allocate(DType::kF64, Shape{norm_.num_chunks()});
    host_chunk_sums_ = arenas_.staging.allocate(DType::kF64, Shape{norm_.num_chunks()});
    // Of each rank: losses of its microbatches, nodes of the norm, votes, whether it wants to stop,
    // whether it failed.
    LEASEHOLD_ASSIGN_OR_RETURN(lanes_, assign_lanes(options_.batch.num_lanes, group_.size()));
    const int64_t per_lane = options_.batch.num_microbatches / options_.batch.num_lanes;
    for (const LaneRange& range : lanes_)
      max_microbatches_ = std::max(max_microbatches_, range.count() * per_lane);
    num_scalars_ = max_microbatches_ + norm_.num_values() + kNumVotes + 2;
    own_scalars_ = arenas_.staging.allocate(DType::kF64, Shape{num_scalars_});
    all_scalars_ = arenas_.staging.allocate(DType::kF64, Shape{num_scalars_ * group_.size()});
    lane_losses_.resize(static_cast<size_t>(options_.batch.num_lanes));
    return ok_status();
  }

  Status initialize() override {
    state_->initialize(table_, options_.seed, *streams_.compute);
    return streams_.compute->synchronize(deadline());
  }

  Status finish_restore() override {
    state_->gather_values(*streams_.compute);
    return streams_.compute->synchronize(deadline());
  }

  std::vector<StateSlice> owned_slices() const override { return state_->owned_slices(); }
  std::vector<StateSlice> needed_slices() const override { return state_->needed_slices(); }
  std::map<std::string, Shape> parameter_shapes() const override {
    std::map<std::string, Shape> shapes;
    for (const auto& parameter : table_.all()) shapes[parameter->name()] = parameter->spec().shape;
    return shapes;
  }
  std::vector<ArenaSize> memory() const override { return sizes_of(arenas_); }
  const FlatLayout& layout() const override { return layout_; }

  Result<Evaluation> evaluate(const WindowLoader& loader,
                              const std::function<bool()>& stop_requested) override {
    return evaluator_->evaluate(loader, group_, options_.timeout_s, stop_requested);
  }

  Result<StepResult> run_step(int64_t step, const WindowLoader& loader,
                              const StepRequest& request) override {
    try {
      const Status loaded = load_batch(step, loader);
      enqueue_gradients(step);
      LEASEHOLD_RETURN_IF_ERROR(exchange_scalars(request, loaded));
      StepResult result;
      LEASEHOLD_RETURN_IF_ERROR(read_scalars(loaded, result));
      if (!std::isfinite(result.loss) || !std::isfinite(result.gradient_norm)) {
        return error(Code::kBadData,
                     "step {}: loss {} and gradient norm {} are not finite; lower optimizer.lr, "
                     "set optimizer.grad_clip "
                     "or look at the data",
                     step + 1, result.loss, result.gradient_norm);
      }
      if (request.before_update) LEASEHOLD_RETURN_IF_ERROR(request.before_update());
      result.lr = learning_rate(options_.optimizer, step, options_.steps);
      state_->update(options_.optimizer, result.lr, step, gradient_scale(),
                     clip_factor(options_.optimizer, result.gradient_norm),
                     gradients_->reduced_shard(), gradients_->value_buffer(), *streams_.compute);
      LEASEHOLD_RETURN_IF_ERROR(streams_.compute->synchronize(deadline()));
      result.num_tokens = options_.batch.num_microbatches * options_.B * options_.T;
      return result;
    } catch (const StatusError& caught) {
      return caught.status();
    }
  }

 private:
  Deadline deadline() const { return after_group_timeout(options_.timeout_s); }
  double gradient_scale() const {
    return 1.0 / static_cast<double>(options_.batch.num_microbatches);
  }

  Status load_batch(int64_t step, const WindowLoader& loader) {
    const auto& own = gradients_->microbatches();
    Status status;
    for (size_t i = 0; i < own.size(); ++i) {
      const int64_t sample = (step * options_.batch.num_microbatches + own[i]) * options_.B;
      const Status loaded =
          batch_->load_samples(static_cast<int64_t>(i), loader, static_cast<uint64_t>(sample));
      if (!loaded.ok()) {
        batch_->clear(static_cast<int64_t>(i));
        if (status.ok()) status = loaded;
      }
    }
    return status;
  }

  void enqueue_gradients(int64_t step) {
    Stream& compute = *streams_.compute;
    batch_->upload(compute);
    const auto& own = gradients_->microbatches();
    for (size_t i = 0; i < own.size(); ++i) {
      const Write write = gradients_->begin_microbatch(i);
      Microbatch microbatch = batch_->microbatch(static_cast<int64_t>(i));
      microbatch.step = static_cast<uint64_t>(step);
      microbatch.index = static_cast<uint64_t>(own[i]);
      StepContext context{.kernels = kernels_,
                          .stream = compute,
                          .hooks = *gradients_,
                          .microbatch = microbatch,
                          .seed = options_.seed,
                          .training = true,
                          .gradients = write};
      model_->forward(context, {}, {}, *saved_);
      model_->backward(context, {}, {}, *saved_);
      gradients_->end_microbatch();
    }
    gradients_->finish();
    kernels_.squared_norms(compute, gradients_->reduced_shard(),
                           static_cast<float>(gradient_scale()), chunk_sums_);
    compute.copy(host_chunk_sums_.data(), chunk_sums_.data(), chunk_sums_.size_bytes());
    batch_->download_losses(compute);
  }

  Status exchange_scalars(const StepRequest& request, const Status& loaded) {
    LEASEHOLD_RETURN_IF_ERROR(streams_.compute->synchronize(deadline()));
    const std::span<double> scalars(own_scalars_.as<double>(), static_cast<size_t>(num_scalars_));
    const auto num_own = static_cast<int64_t>(gradients_->microbatches().size());
    for (int64_t i = 0; i < num_own; ++i) {
      scalars[static_cast<size_t>(i)] =
          batch_->loss_sum(i) / static_cast<double>(options_.B * options_.T);
    }
    norm_.own_values(group_.rank(),
                     {host_chunk_sums_.as<double>(), static_cast<size_t>(norm_.num_chunks())},
                     scalars.subspan(static_cast<size_t>(max_microbatches_),
                                     static_cast<size_t>(norm_.num_values())));
    std::ranges::copy(request.votes, scalars.end() - 2 - kNumVotes);
    scalars[scalars.size() - 2] = request.stop_requested ? 1 : 0;
    scalars[scalars.size() - 1] = loaded.ok() ? 0 : 1;
    return group_.all_gather(own_scalars_, all_scalars_, *streams_.compute).wait(deadline());
  }

  Status read_scalars(const Status& loaded, StepResult& result) {
    const double* all = all_scalars_.as<double>();
    const int64_t per_lane = options_.batch.num_microbatches / options_.batch.num_lanes;
    bool failed = false;
    norm_values_.clear();
    for (int rank = 0; rank < group_.size(); ++rank) {
      const double* scalars = all + rank * num_scalars_;
      const LaneRange& range = lanes_[static_cast<size_t>(rank)];
      for (int64_t lane = range.begin; lane < range.end; ++lane) {
        const double* losses = scalars + (lane - range.begin) * per_lane;
        double sum = losses[0];
        for (int64_t i = 1; i < per_lane; ++i) sum += losses[i];
        lane_losses_[static_cast<size_t>(lane)] = sum;
      }
      norm_values_.insert(norm_values_.end(), scalars + max_microbatches_,
                          scalars + max_microbatches_ + norm_.num_values());
      for (size_t i = 0; i < result.votes.size(); ++i) {
        const double vote = scalars[num_scalars_ - 2 - kNumVotes + static_cast<int64_t>(i)];
        result.votes[i] = rank == 0 ? vote : std::min(result.votes[i], vote);
      }
      if (scalars[num_scalars_ - 2] != 0) result.stop_requested = true;
      if (scalars[num_scalars_ - 1] != 0) failed = true;
    }
    if (failed) return agree(group_, *streams_.compute, loaded, deadline());
    result.loss = tree_sum(lane_losses_) * gradient_scale();
    result.gradient_norm = norm_.norm(norm_values_);
    return ok_status();
  }

  Kernels& kernels_;
  Communicator& group_;
  EngineOptions options_;
  Streams& streams_;
  Arenas& arenas_;
  ParameterTable table_;
  FlatLayout layout_;
  GradientNorm norm_;
  std::unique_ptr<ModelState> state_;
  std::unique_ptr<Gradients> gradients_;
  std::unique_ptr<Module> model_;
  std::unique_ptr<Saved> saved_;
  std::unique_ptr<BatchBuffers> batch_;
  std::unique_ptr<Evaluator> evaluator_;
  std::vector<LaneRange> lanes_;
  int64_t max_microbatches_ = 0;
  int64_t num_scalars_ = 0;
  Tensor chunk_sums_, host_chunk_sums_, own_scalars_, all_scalars_;
  std::vector<double> lane_losses_;
  std::vector<double> norm_values_;
};

// The engine together with what it lives in, destroyed in the right order.
struct OwningEngine {
  Streams streams;
  Arenas arenas;
};
class OwnedEngine : private OwningEngine, public EngineImplementation {
 public:
  OwnedEngine(Streams own_streams, Arenas own_arenas, Kernels& kernels, Mesh& mesh,
              const ModelSource& source, const EngineOptions& options)
      : OwningEngine{std::move(own_streams), std::move(own_arenas)},
        EngineImplementation(kernels, mesh, source, options, OwningEngine::streams,
                             OwningEngine::arenas) {}
};

Result<Arenas> measure(Device& device, Kernels& kernels, Mesh& mesh, const ModelSource& source,
                       const EngineOptions& options) {
  LEASEHOLD_ASSIGN_OR_RETURN(Streams streams, create_streams(device));
  Arenas measured = Arenas::measuring();
  EngineImplementation trial(kernels, mesh, source, options, streams, measured);
  LEASEHOLD_RETURN_IF_ERROR(trial.build(source));
  return measured;
}

}  // namespace

Result<std::vector<ArenaSize>> Engine::forecast(Device& device, Kernels& kernels, Mesh& mesh,
                                                const ModelSource& source,
                                                const EngineOptions& options) {
  LEASEHOLD_ASSIGN_OR_RETURN(const Arenas measured,
                             measure(device, kernels, mesh, source, options));
  return sizes_of(measured);
}

Result<std::unique_ptr<Engine>> Engine::create(Device& device, Kernels& kernels, Mesh& mesh,
                                               const ModelSource& source,
                                               const EngineOptions& options) {
  LEASEHOLD_ASSIGN_OR_RETURN(const Arenas measured,
                             measure(device, kernels, mesh, source, options));
  LEASEHOLD_ASSIGN_OR_RETURN(Streams streams, create_streams(device));
  LEASEHOLD_ASSIGN_OR_RETURN(Arenas arenas, Arenas::create(device, measured));
  auto engine = std::make_unique<OwnedEngine>(std::move(streams), std::move(arenas), kernels, mesh,
                                              source, options);
  LEASEHOLD_RETURN_IF_ERROR(engine->build(source));
  return std::unique_ptr<Engine>(std::move(engine));
}

}  // namespace leasehold
