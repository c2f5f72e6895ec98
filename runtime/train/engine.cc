#include "runtime/train/engine.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <optional>
#include <tuple>

#include "runtime/comm/host_exchange.h"
#include "runtime/train/agreed_algorithms.h"
#include "runtime/train/gradient_norm.h"
#include "runtime/train/rank_parts.h"
#include "runtime/train/step_batch.h"
#include "runtime/train/streams.h"

namespace leasehold {

namespace {

constexpr int64_t kNumVotes = std::tuple_size_v<Votes>;

// Flags that a rank says with 0 or 1.
enum Flag : size_t { kWantsToStop, kHasFailed, kHasChosen };
constexpr int64_t kNumFlags = 3;

std::vector<ArenaSize> sizes_of(const Arenas& arenas) {
  std::vector<ArenaSize> sizes;
  for (const Arena* arena : arenas.all()) {
    const MemoryKind kind = arena == &arenas.staging ? MemoryKind::kPinned : MemoryKind::kDevice;
    sizes.push_back({arena->name(), arena->peak_bytes(), kind});
  }
  return sizes;
}

class EngineImplementation : public Engine {
 public:
  EngineImplementation(Kernels& kernels, Mesh& mesh, const EngineOptions& options, Streams& streams,
                       Arenas& arenas)
      : kernels_(kernels),
        mesh_(mesh),
        world_(mesh.world()),
        options_(options),
        streams_(streams),
        arenas_(arenas) {}

  // Everything that allocates, in one order for measuring and for real.
  Status build(const ModelSource& source) {
    for (const ParameterSpec& spec : source.parameters) shapes_[spec.name] = spec.shape;
    const bool streamed = options_.zero_stage >= 2 && mesh_.shape().data > 1;
    LEASEHOLD_ASSIGN_OR_RETURN(step_batch_, StepBatch::create(options_.batch, mesh_.shape().data,
                                                              options_.reduction, streamed));
    LEASEHOLD_ASSIGN_OR_RETURN(parts_, RankParts::create(source, options_, mesh_, kernels_,
                                                         streams_, *step_batch_, arenas_));
    norm_ = std::make_unique<GradientNorm>(parts_->make_norm());
    batch_ = std::make_unique<BatchBuffers>(static_cast<int64_t>(own_microbatches().size()),
                                            options_.B, options_.T, arenas_);
    evaluator_ = std::make_unique<Evaluator>(
        [this](int64_t count, const BatchBuffers& batch) { parts_->compute_losses(count, batch); },
        mesh_, options_.B, options_.T, *streams_.compute, *streams_.host, arenas_);
    const Shape chunks{norm_->plan().num_chunks};
    chunk_sums_ = arenas_.batch.allocate(DType::kF64, chunks);
    host_chunk_sums_ = arenas_.staging.allocate(DType::kF64, chunks);
    scalars_ = arenas_.staging.allocate(
        DType::kF64,
        Shape{options_.batch.num_microbatches + norm_->num_trees() + kNumVotes + kNumFlags});
    return ok_status();
  }

  // Enqueues what a step and a validation do, on zeros, and sends nothing of it to the host.
  Status rehearse() {
    try {
      for (size_t i = 0; i < own_microbatches().size(); ++i) batch_->clear(static_cast<int64_t>(i));
      batch_->upload(*streams_.compute);
      parts_->compute_gradients(0, *batch_);
      parts_->compute_losses(1, *batch_);
      return streams_.compute->synchronize(deadline());
    } catch (const StatusError& caught) {
      return caught.status();
    }
  }

  Status initialize() override {
    for (RankPart* part : parts_->all()) part->state->initialize(options_.seed, *streams_.compute);
    return streams_.compute->synchronize(deadline());
  }

  Status finish_restore() override {
    for (RankPart* part : parts_->all()) part->state->finish_load(*streams_.compute);
    return streams_.compute->synchronize(deadline());
  }

  std::vector<StateSlice> owned_slices() const override {
    return slices(&ModelState::owned_slices);
  }
  std::vector<StateSlice> needed_slices() const override {
    return slices(&ModelState::needed_slices);
  }
  bool state_is_copied() const override { return parts_->all().front()->state->has_host_copy(); }
  void begin_capture() override {
    if (!state_is_copied()) return;
    streams_.compute->record(*streams_.state_final);
    streams_.capture->wait(*streams_.state_final);
    for (RankPart* part : parts_->all()) part->state->download(*streams_.capture);
    streams_.capture->record(*streams_.state_captured);
  }
  Status wait_captured() const override {
    return state_is_copied() ? streams_.state_captured->wait(deadline()) : ok_status();
  }
  std::map<std::string, Shape> parameter_shapes() const override { return shapes_; }
  bool failed_alike() const override { return failed_alike_; }
  std::vector<ArenaSize> memory() const override { return sizes_of(arenas_); }

  Result<Evaluation> evaluate(const WindowLoader& loader,
                              const std::function<bool()>& stop_requested) override {
    return evaluator_->evaluate(loader, options_.timeout_s, stop_requested);
  }

  Result<StepResult> run_step(int64_t step, const WindowLoader& loader,
                              const StepRequest& request) override {
    failed_alike_ = false;
    try {
      streams_.meter->begin(mesh_.group(Axis::kData));
      const Status loaded = load_batch(step, loader);
      StepResult result;
      for (bool again = true; again;) {
        enqueue_gradients(step);
        LEASEHOLD_RETURN_IF_ERROR(exchange_scalars(request, loaded));
        bool any_chose = false;
        LEASEHOLD_RETURN_IF_ERROR(read_scalars(loaded, result, any_chose));
        again = false;
        if (any_chose) {
          LEASEHOLD_ASSIGN_OR_RETURN(again, request.algorithms->settle());
        }
      }
      result.lr = learning_rate(options_.optimizer, step, options_.steps);
      // Both are the same numbers on every rank.
      if (std::isfinite(result.loss) && is_usable(options_.optimizer, result.gradient_norm)) {
        LEASEHOLD_RETURN_IF_ERROR(update(step, request, result));
      } else if (request.skip_nonfinite) {
        result.skipped = true;
      } else {
        failed_alike_ = true;
        return error(Code::kBadData, "step {}: loss {} and gradient norm {} are {}", step + 1,
                     result.loss, result.gradient_norm,
                     std::isfinite(result.loss) && std::isfinite(result.gradient_norm)
                         ? "too large for AdamW's second moment: set optimizer.grad_clip"
                         : "not finite");
      }
      result.communication = streams_.meter->end();
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
  const std::vector<int64_t>& own_microbatches() const {
    return step_batch_->microbatches_of(mesh_.coordinates().data);
  }

  std::vector<StateSlice> slices(std::vector<StateSlice> (ModelState::*of)() const) const {
    std::vector<StateSlice> all;
    for (const RankPart* part : parts_->all()) {
      for (StateSlice& slice : (*part->state.*of)()) all.push_back(std::move(slice));
    }
    return all;
  }

  Status load_batch(int64_t step, const WindowLoader& loader) {
    if (!parts_->reads_tokens()) return ok_status();
    const auto& own = own_microbatches();
    Status status;
    for (size_t i = 0; i < own.size(); ++i) {
      const auto place = static_cast<int64_t>(i);
      if (own[i] >= options_.batch.num_microbatches) {
        batch_->clear(place);
        continue;
      }
      const int64_t sample = (step * options_.batch.num_microbatches + own[i]) * options_.B;
      const Status loaded = batch_->load_samples(place, loader, static_cast<uint64_t>(sample));
      if (!loaded.ok()) {
        batch_->clear(place);
        if (status.ok()) status = loaded;
      }
    }
    return status;
  }

  Status update(int64_t step, const StepRequest& request, const StepResult& result) {
    if (request.before_update) {
      const Status ready = request.before_update();
      if (!ready.ok()) return error(Code::kUnavailable, "{}", ready.message());
    }
    streams_.compute->wait(*streams_.state_captured);
    for (RankPart* part : parts_->all()) {
      part->state->update(options_.optimizer, result.lr, step - request.num_skipped,
                          gradient_scale(), clip_factor(options_.optimizer, result.gradient_norm),
                          part->gradients->reduced_shard(), part->gradients->value_buffer(),
                          *streams_.compute);
    }
    return streams_.compute->synchronize(deadline());
  }

  void enqueue_gradients(int64_t step) {
    Stream& compute = *streams_.compute;
    batch_->upload(compute);
    parts_->compute_gradients(step, *batch_);
    int64_t begin = 0;
    for (const RankPart* part : parts_->all()) {
      const int64_t count = part->layout.num_shard_elements / Kernels::kChunk;
      kernels_.squared_norms(compute, part->gradients->reduced_shard(),
                             static_cast<float>(gradient_scale()), chunk_sums_.flat(begin, count));
      begin += count;
    }
    compute.copy(host_chunk_sums_.data(), chunk_sums_.data(), chunk_sums_.size_bytes());
    batch_->download_losses(compute);
  }

  // What the ranks exchange in a step, of which each number is known to one rank or is a vote: the
  // losses of microbatches, the sums of the norm's trees, votes and flags.
  struct Scalars {
    std::span<double> all, losses, roots, votes, flags;
  };
  Scalars scalars() const {
    Scalars of;
    of.all = {scalars_.as<double>(), static_cast<size_t>(scalars_.num_elements())};
    of.losses = of.all.first(static_cast<size_t>(options_.batch.num_microbatches));
    of.roots = of.all.subspan(of.losses.size(), static_cast<size_t>(norm_->num_trees()));
    of.flags = of.all.last(kNumFlags);
    of.votes = of.all.last(kNumFlags + kNumVotes).first(kNumVotes);
    return of;
  }

  // The greatest of each number over the ranks: the one that some rank knows, where the others say
  // less than anything; and of votes the least, since they are negated.
  Status exchange_scalars(const StepRequest& request, const Status& loaded) {
    LEASEHOLD_RETURN_IF_ERROR(streams_.compute->synchronize(deadline()));
    const Scalars own = scalars();
    std::ranges::fill(own.all, -std::numeric_limits<double>::infinity());
    put_losses(own.losses);
    LEASEHOLD_RETURN_IF_ERROR(
        norm_->sum({host_chunk_sums_.as<double>(), static_cast<size_t>(norm_->plan().num_chunks)},
                   world_, *streams_.host, deadline(), own.roots));
    std::ranges::transform(request.votes, own.votes.begin(), std::negate<>());
    own.flags[kWantsToStop] = request.stop_requested ? 1 : 0;
    own.flags[kHasFailed] = loaded.ok() ? 0 : 1;
    own.flags[kHasChosen] = request.algorithms != nullptr && request.algorithms->has_new() ? 1 : 0;
    return world_.all_reduce(scalars_, ReduceOp::kMax, *streams_.host).wait(deadline());
  }

  // The last stage has the losses; its tensor ranks have them alike.
  void put_losses(std::span<double> losses) const {
    const MeshCoordinates& at = mesh_.coordinates();
    if (at.pipeline + 1 != mesh_.shape().pipeline || at.tensor != 0) return;
    const auto& own = own_microbatches();
    for (size_t i = 0; i < own.size(); ++i) {
      if (own[i] >= options_.batch.num_microbatches) continue;
      losses[static_cast<size_t>(own[i])] =
          batch_->loss_sum(static_cast<int64_t>(i)) / static_cast<double>(options_.B * options_.T);
    }
  }

  Status read_scalars(const Status& loaded, StepResult& result, bool& any_chose) {
    const Scalars all = scalars();
    std::ranges::transform(all.votes, result.votes.begin(), std::negate<>());
    result.stop_requested = all.flags[kWantsToStop] != 0;
    any_chose = all.flags[kHasChosen] != 0;
    if (all.flags[kHasFailed] != 0) {
      Status unread = agree(world_, *streams_.host, loaded, deadline());
      failed_alike_ = unread.code() != Code::kUnavailable;
      return unread;
    }
    result.loss = step_batch_->mean_loss(all.losses);
    result.gradient_norm = GradientNorm::norm(all.roots);
    return ok_status();
  }

  Kernels& kernels_;
  Mesh& mesh_;
  Communicator& world_;
  EngineOptions options_;
  Streams& streams_;
  Arenas& arenas_;
  std::map<std::string, Shape> shapes_;
  std::optional<StepBatch> step_batch_;
  std::unique_ptr<RankParts> parts_;
  std::unique_ptr<GradientNorm> norm_;
  std::unique_ptr<BatchBuffers> batch_;
  std::unique_ptr<Evaluator> evaluator_;
  bool failed_alike_ = false;
  Tensor chunk_sums_, host_chunk_sums_, scalars_;
};

// The engine together with what it lives in, destroyed in the right order.
struct OwningEngine {
  Streams streams;
  Arenas arenas;
};
class OwnedEngine : private OwningEngine, public EngineImplementation {
 public:
  OwnedEngine(Streams own_streams, Arenas own_arenas, Kernels& kernels, Mesh& mesh,
              const EngineOptions& options)
      : OwningEngine{std::move(own_streams), std::move(own_arenas)},
        EngineImplementation(kernels, mesh, options, OwningEngine::streams, OwningEngine::arenas) {}
};

Result<Arenas> measure(Device& device, Kernels& kernels, Mesh& mesh, const ModelSource& source,
                       const EngineOptions& options) {
  LEASEHOLD_ASSIGN_OR_RETURN(Streams streams, Streams::create(device));
  Arenas measured = Arenas::measuring(device.kind());
  EngineImplementation trial(kernels, mesh, options, streams, measured);
  LEASEHOLD_RETURN_IF_ERROR(trial.build(source));
  return measured;
}

// The same with a microbatch a rank, or as many as an interleaved schedule wants.
EngineOptions smallest_batch(EngineOptions options, const MeshShape& shape) {
  const int64_t each = options.num_chunks > 1 ? shape.pipeline : 1;
  const int64_t all = each * shape.data;
  if (all < options.batch.num_microbatches)
    options.batch = {.num_microbatches = all, .num_lanes = all};
  return options;
}

// Its memory is free again when it returns.
Status rehearse(Device& device, Kernels& kernels, const Mesh& mesh, const ModelSource& source,
                const EngineOptions& options) {
  const EngineOptions small = smallest_batch(options, mesh.shape());
  Mesh idle = Mesh::idle(mesh.shape(), mesh.world().rank());
  LEASEHOLD_ASSIGN_OR_RETURN(const Arenas measured, measure(device, kernels, idle, source, small));
  LEASEHOLD_ASSIGN_OR_RETURN(Streams streams, Streams::create(device));
  LEASEHOLD_ASSIGN_OR_RETURN(Arenas arenas, Arenas::create(device, measured));
  EngineImplementation rehearsal(kernels, idle, small, streams, arenas);
  LEASEHOLD_RETURN_IF_ERROR(rehearsal.build(source));
  return rehearsal.rehearse().annotated("a rehearsal of the first step");
}

}  // namespace

int64_t device_bytes(const std::vector<ArenaSize>& arenas, DeviceKind kind) {
  int64_t bytes = 0;
  for (const ArenaSize& arena : arenas) {
    if (kind == DeviceKind::kCpu || arena.kind == MemoryKind::kDevice) bytes += arena.bytes;
  }
  return bytes;
}

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
  if (options.rehearse) LEASEHOLD_RETURN_IF_ERROR(rehearse(device, kernels, mesh, source, options));
  LEASEHOLD_ASSIGN_OR_RETURN(Streams streams, Streams::create(device));
  LEASEHOLD_ASSIGN_OR_RETURN(Arenas arenas, Arenas::create(device, measured));
  auto engine =
      std::make_unique<OwnedEngine>(std::move(streams), std::move(arenas), kernels, mesh, options);
  LEASEHOLD_RETURN_IF_ERROR(engine->build(source));
  return std::unique_ptr<Engine>(std::move(engine));
}

}  // namespace leasehold
