#include "models/decoder.h"

#include <algorithm>

namespace leasehold {

namespace {

// Sizes of passes, in tokens. A text is cut into the largest passes that fit: large products are
// fast.
constexpr int64_t kPassCounts[] = {512, 64, 8, 1};
constexpr double kPassTimeoutS = 300;

std::string attention_name(int64_t layer) { return fmt::format("blocks.{}.attention", layer); }

}  // namespace

int64_t Decoder::cache_bytes(const ModelConfig& config, int64_t positions, DType dtype) {
  return 2 * config.layers * positions * config.kv_heads * config.head_dim() * size_of(dtype);
}

Decoder::Decoder(const ModelConfig& config, Module& model, Kernels& kernels, Stream& stream,
                 int64_t positions)
    : config_(config), model_(model), kernels_(kernels), stream_(stream), positions_(positions) {}

Result<std::unique_ptr<Decoder>> Decoder::create(const ModelConfig& config, Module& model,
                                                 Kernels& kernels, Device& device, Stream& stream,
                                                 int64_t positions) {
  LEASEHOLD_CHECK(1 <= positions && positions <= config.sequence, "{} positions of {}", positions,
                  config.sequence);
  LEASEHOLD_CHECK(kernels.has_cached_attention(), "{}: no cached attention", kernels.name());
  std::unique_ptr<Decoder> made(new Decoder(config, model, kernels, stream, positions));
  Arena measured = Arena::measuring("keys and values");
  Arena scratch = Arena::measuring("scratch");
  Arena host = Arena::measuring("staging");
  made->allocate(measured, scratch, host);
  for (const auto& [arena, kind] :
       {std::pair(&measured, MemoryKind::kDevice), std::pair(&scratch, MemoryKind::kDevice),
        std::pair(&host, MemoryKind::kPinned)}) {
    LEASEHOLD_ASSIGN_OR_RETURN(Arena real,
                               Arena::create(device, arena->name(), arena->peak_bytes(), kind));
    made->arenas_.push_back(std::move(real));
  }
  made->allocate(made->arenas_[0], made->arenas_[1], made->arenas_[2]);
  return made;
}

void Decoder::allocate(Arena& device, Arena& scratch, Arena& host) {
  const DType dtype = kernels_.dtype();
  memory_.layers.clear();
  for (int64_t layer = 0; layer < config_.layers; ++layer) {
    memory_.layers[attention_name(layer)] =
        device.allocate(dtype, {1, positions_, config_.kv_heads, 2, config_.head_dim()});
  }
  logits_ = device.allocate(dtype, {1, config_.vocab});
  logits_f32_ = device.allocate(DType::kF32, {config_.vocab});
  passes_.clear();
  for (const int64_t count : kPassCounts) {
    if (count > positions_) continue;
    if (passes_.empty()) tokens_ = device.allocate(DType::kI32, {1, count});
    // One pass runs at a time, so all use the same scratch.
    const int64_t mark = scratch.mark();
    passes_.push_back({count, model_.prepare({.kernels = kernels_,
                                              .activations = scratch,
                                              .scratch = scratch,
                                              .B = 1,
                                              .T = count,
                                              .training = false,
                                              .remembered = positions_})});
    scratch.release_to(mark);
  }
  host_tokens_ = host.allocate(DType::kI32, {positions_});
  host_logits_ = host.allocate(DType::kF32, {config_.vocab});
}

void Decoder::enqueue(const Pass& pass, const int32_t* ids) {
  const Tensor staged = host_tokens_.flat(memory_.first, pass.count);
  std::copy(ids, ids + pass.count, staged.as<int32_t>());
  Microbatch microbatch;
  microbatch.tokens = tokens_.flat(0, pass.count).reshape({1, pass.count});
  microbatch.logits = logits_;
  UnitHooks no_hooks;
  StepContext context{.kernels = kernels_,
                      .stream = stream_,
                      .hooks = no_hooks,
                      .microbatch = microbatch,
                      .training = false,
                      .memory = &memory_};
  stream_.copy(microbatch.tokens.data(), staged.data(), staged.size_bytes());
  model_.forward(context, {}, {}, *pass.saved);
  memory_.first += pass.count;
}

Result<std::span<const float>> Decoder::append(std::span<const int32_t> ids) {
  LEASEHOLD_CHECK(!ids.empty() && std::ssize(ids) <= positions_ - length(),
                  "{} ids after {} of {} positions", ids.size(), length(), positions_);
  size_t done = 0;
  for (const Pass& pass : passes_) {
    while (std::ssize(ids.subspan(done)) >= pass.count) {
      enqueue(pass, ids.data() + done);
      done += static_cast<size_t>(pass.count);
      if (pass.count > 1)
        LEASEHOLD_RETURN_IF_ERROR(stream_.synchronize(Deadline::after_s(kPassTimeoutS)));
    }
  }
  kernels_.cast(stream_, logits_.reshape(logits_f32_.shape()), logits_f32_);
  stream_.copy(host_logits_.data(), logits_f32_.data(), logits_f32_.size_bytes());
  LEASEHOLD_RETURN_IF_ERROR(stream_.synchronize(Deadline::after_s(kPassTimeoutS)));
  return std::span<const float>(host_logits_.as<float>(),
                                static_cast<size_t>(host_logits_.num_elements()));
}

}  // namespace leasehold
