#include "launch/sample_command.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "launch/checkpoint_model.h"

namespace leasehold {

int32_t choose_token(std::span<const float> logits, double temperature, int64_t top_k,
                     double uniform) {
  std::vector<int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  const auto likelier = [&](int32_t a, int32_t b) {
    const float left = logits[static_cast<size_t>(a)], right = logits[static_cast<size_t>(b)];
    return left != right ? left > right : a < b;
  };
  const size_t kept = top_k > 0 ? std::min(ids.size(), static_cast<size_t>(top_k)) : ids.size();
  std::partial_sort(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(kept), ids.end(),
                    likelier);
  if (temperature <= 0) return ids.front();
  ids.resize(kept);
  const double largest = logits[static_cast<size_t>(ids.front())];
  std::vector<double> weights;
  for (const int32_t id : ids) {
    weights.push_back(
        std::exp((static_cast<double>(logits[static_cast<size_t>(id)]) - largest) / temperature));
  }
  double left = uniform * std::accumulate(weights.begin(), weights.end(), 0.0);
  for (size_t i = 0; i < ids.size(); ++i) {
    left -= weights[i];
    if (left < 0) return ids[i];
  }
  return ids.back();
}

namespace {

Status check_command(const SampleCommand& command) {
  if (command.tokens < 1) return error(Code::kUsage, "--tokens {}: at least 1", command.tokens);
  if (command.top_k < 0) return error(Code::kUsage, "--top-k {}: 0 (all) or more", command.top_k);
  if (!(command.temperature >= 0))
    return error(Code::kUsage, "--temperature {}: 0 or more", command.temperature);
  if (command.prompt.empty())
    return error(Code::kUsage, "--prompt must not be empty: the model goes on with it");
  return ok_status();
}

// The model's forward pass over the newest tokens, on its device.
class Forward {
 public:
  static Result<std::unique_ptr<Forward>> create(CheckpointModel& model) {
    LEASEHOLD_RETURN_IF_ERROR(model.prepare(1));
    auto made = std::unique_ptr<Forward>(new Forward(model));
    Arena device = Arena::measuring("logits"), host = Arena::measuring("staging");
    made->allocate(device, host);
    const auto create = [&](const Arena& measured, MemoryKind kind) {
      return Arena::create(model.device(), measured.name(), measured.peak_bytes(), kind);
    };
    LEASEHOLD_ASSIGN_OR_RETURN(Arena device_arena, create(device, MemoryKind::kDevice));
    LEASEHOLD_ASSIGN_OR_RETURN(Arena host_arena, create(host, MemoryKind::kPinned));
    made->allocate(device_arena, host_arena);
    made->arenas_.push_back(std::move(device_arena));
    made->arenas_.push_back(std::move(host_arena));
    return made;
  }

  // (V) logits of the token behind `ids`, until the next call.
  Result<std::span<const float>> logits_behind(const std::vector<int32_t>& ids) {
    // The newest T tokens; what comes after the last one is not seen by it (attention is causal).
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
    LEASEHOLD_RETURN_IF_ERROR(stream.synchronize(Deadline::after_s(300)));
    return std::span<const float>(host_logits_.as<float>(),
                                  static_cast<size_t>(host_logits_.num_elements()));
  }

 private:
  explicit Forward(CheckpointModel& model) : model_(model) {}

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
  Tensor logits_;  // of one position
  Tensor host_tokens_, host_logits_;
};

}  // namespace

Status run_sample(const SampleCommand& command) {
  LEASEHOLD_RETURN_IF_ERROR(check_command(command));
  LEASEHOLD_ASSIGN_OR_RETURN(const auto model,
                             CheckpointModel::load(posix_files(), command.checkpoint,
                                                   {command.device, command.num_threads}));
  LEASEHOLD_ASSIGN_OR_RETURN(const Tokenizer* tokenizer, model->tokenizer());
  LEASEHOLD_ASSIGN_OR_RETURN(const auto forward, Forward::create(*model));
  const int64_t V = model->config().vocab;
  LEASEHOLD_ASSIGN_OR_RETURN(std::vector<int32_t> ids, tokenizer->encode(command.prompt));
  if (std::ranges::any_of(ids, [&](int32_t id) { return id >= V; })) {
    return error(Code::kBadData, "the prompt has tokens that the model lacks: its vocabulary is {}",
                 V);
  }
  // A vocabulary that was rounded up has logits that no text was trained on.
  const auto known = static_cast<size_t>(std::min(V, tokenizer->vocab_size()));
  LEASEHOLD_ASSIGN_OR_RETURN(std::string shown, tokenizer->decode(ids));
  const RandomSite site = RandomSite::make(static_cast<uint64_t>(command.seed), "sample");
  fmt::print("{}", command.prompt);
  for (int64_t i = 0; i < command.tokens; ++i) {
    LEASEHOLD_ASSIGN_OR_RETURN(const auto logits, forward->logits_behind(ids));
    ids.push_back(choose_token(logits.first(known), command.temperature, command.top_k,
                               site.uniform(static_cast<uint64_t>(i))));
    // All of them: what a token adds may depend on those before it (SentencePiece's first space).
    LEASEHOLD_ASSIGN_OR_RETURN(std::string text, tokenizer->decode(ids));
    fmt::print("{}", std::string_view(text).substr(shown.size()));
    shown = std::move(text);
    std::fflush(stdout);
  }
  fmt::print("\n");
  return ok_status();
}

}  // namespace leasehold
