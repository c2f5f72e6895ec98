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

}  // namespace

Status run_sample(const SampleCommand& command) {
  LEASEHOLD_RETURN_IF_ERROR(check_command(command));
  LEASEHOLD_ASSIGN_OR_RETURN(
      const auto model,
      CheckpointModel::load(posix_files(), command.checkpoint, command.num_threads));
  LEASEHOLD_ASSIGN_OR_RETURN(const Tokenizer* tokenizer, model->tokenizer());
  LEASEHOLD_RETURN_IF_ERROR(model->prepare(1));
  const int64_t T = model->config().sequence;
  const int64_t V = model->config().vocab;

  std::vector<int32_t> window(static_cast<size_t>(T));
  const DType dtype = model->kernels().dtype();
  LEASEHOLD_ASSIGN_OR_RETURN(Arena arena,
                             Arena::create(model->device(), "logits",
                                           T * V * size_of(dtype) + V * size_of(DType::kF32) +
                                               2 * Arena::kAlignmentBytes));
  Microbatch microbatch;
  microbatch.tokens = {window.data(), DType::kI32, {1, T}};
  microbatch.logits = arena.allocate(dtype, {T, V});
  const Tensor logits = arena.allocate(DType::kF32, {V});  // of the position that is drawn from
  UnitHooks no_hooks;
  StepContext context{.kernels = model->kernels(),
                      .stream = model->stream(),
                      .hooks = no_hooks,
                      .microbatch = microbatch,
                      .training = false};

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
    // The newest T tokens; what comes after the last one is not seen by it (attention is causal).
    const auto count = std::min(T, static_cast<int64_t>(ids.size()));
    std::ranges::fill(window, 0);
    std::copy(ids.end() - count, ids.end(), window.begin());
    model->model().forward(context, {}, {}, model->saved());
    model->kernels().cast(model->stream(), microbatch.logits.rows(count - 1, 1).reshape({V}),
                          logits);
    LEASEHOLD_RETURN_IF_ERROR(model->stream().synchronize(Deadline::after_s(300)));
    ids.push_back(choose_token({logits.as<float>(), known}, command.temperature, command.top_k,
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
