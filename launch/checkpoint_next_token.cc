#include "launch/checkpoint_next_token.h"

#include <algorithm>

#include "launch/cache_memory.h"
#include "models/decoder.h"

namespace leasehold {

namespace {

constexpr double kWindowTimeoutS = 300;

class CachedNextToken : public NextToken {
 public:
  explicit CachedNextToken(std::unique_ptr<Decoder> decoder) : decoder_(std::move(decoder)) {}

  Result<std::span<const float>> logits_after(std::span<const int32_t> ids) override {
    const int64_t positions = decoder_->positions();
    if (std::ssize(ids) - first_ > positions) {
      first_ = std::ssize(ids) - std::max<int64_t>(1, positions / 2);
      decoder_->clear();
    }
    return decoder_->append(ids.subspan(static_cast<size_t>(first_ + decoder_->length())));
  }

 private:
  std::unique_ptr<Decoder> decoder_;
  int64_t first_ = 0;  // the id at the decoder's position 0
};

// A WindowNextToken runs the model's forward pass over the newest tokens, on the model's device.
class WindowNextToken : public NextToken {
 public:
  static Result<std::unique_ptr<NextToken>> create(CheckpointModel& model) {
    LEASEHOLD_RETURN_IF_ERROR(model.prepare(1, model.config().sequence));
    auto made = std::unique_ptr<WindowNextToken>(new WindowNextToken(model));
    Arena device = Arena::measuring("logits"), host = Arena::measuring("staging");
    made->allocate(device, host);
    const auto create_arena = [&](const Arena& measured, MemoryKind kind) {
      return Arena::create(model.device(), measured.name(), measured.peak_bytes(), kind);
    };
    LEASEHOLD_ASSIGN_OR_RETURN(Arena device_arena, create_arena(device, MemoryKind::kDevice));
    LEASEHOLD_ASSIGN_OR_RETURN(Arena host_arena, create_arena(host, MemoryKind::kPinned));
    made->allocate(device_arena, host_arena);
    made->arenas_.push_back(std::move(device_arena));
    made->arenas_.push_back(std::move(host_arena));
    return std::unique_ptr<NextToken>(std::move(made));
  }

  Result<std::span<const float>> logits_after(std::span<const int32_t> ids) override {
    // Fill a window with the newest T tokens. The zeros after the last one do not affect it, since
    // attention is causal.
    const int64_t T = host_tokens_.num_elements();
    const auto count = std::min(T, static_cast<int64_t>(ids.size()));
    const std::span<int32_t> window(host_tokens_.as<int32_t>(), static_cast<size_t>(T));
    std::ranges::fill(window, 0);
    std::copy(ids.end() - count, ids.end(), window.begin());
    Stream& stream = model_.stream();
    UnitHooks no_hooks;
    StepContext context{.kernels = model_.kernels(),
                        .stream = stream,
                        .hooks = no_hooks,
                        .microbatch = microbatch_,
                        .training = false};
    stream.copy(microbatch_.tokens.data(), host_tokens_.data(), host_tokens_.size_bytes());
    model_.model().forward(context, {}, {}, model_.saved());
    model_.kernels().cast(stream, microbatch_.logits.rows(count - 1, 1).reshape(logits_.shape()),
                          logits_);
    stream.copy(host_logits_.data(), logits_.data(), logits_.size_bytes());
    LEASEHOLD_RETURN_IF_ERROR(stream.synchronize(Deadline::after_s(kWindowTimeoutS)));
    return std::span<const float>(host_logits_.as<float>(),
                                  static_cast<size_t>(host_logits_.num_elements()));
  }

 private:
  explicit WindowNextToken(CheckpointModel& model) : model_(model) {}

  void allocate(Arena& device, Arena& host) {
    const int64_t T = model_.config().sequence, V = model_.config().vocab;
    microbatch_.tokens = device.allocate(DType::kI32, {1, T});
    microbatch_.logits = device.allocate(model_.kernels().dtype(), {T, V});
    logits_ = device.allocate(DType::kF32, {V});
    host_tokens_ = host.allocate(DType::kI32, {1, T});
    host_logits_ = host.allocate(DType::kF32, {V});
  }

  CheckpointModel& model_;
  std::vector<Arena> arenas_;
  Microbatch microbatch_;
  Tensor logits_;  // (V), of one position
  Tensor host_tokens_, host_logits_;
};

}  // namespace

Result<std::unique_ptr<NextToken>> create_next_token(CheckpointModel& model, int64_t num_tokens) {
  if (!model.kernels().has_cached_attention()) return WindowNextToken::create(model);
  const ModelConfig& config = model.config();
  const int64_t positions = std::clamp<int64_t>(num_tokens, 1, config.sequence);
  LEASEHOLD_RETURN_IF_ERROR(
      check_cache_fits(positions, Decoder::cache_bytes(config, positions, model.kernels().dtype()),
                       available_memory_bytes()));
  LEASEHOLD_ASSIGN_OR_RETURN(std::unique_ptr<Decoder> decoder,
                             Decoder::create(config, model.model(), model.kernels(), model.device(),
                                             model.stream(), positions));
  return std::unique_ptr<NextToken>(std::make_unique<CachedNextToken>(std::move(decoder)));
}

}  // namespace leasehold
