#include "launch/plan/recompute_share.h"

#include <algorithm>

namespace leasehold {

namespace {

constexpr double kReservedBytes = 2e9;  // the library's workspaces and buffers
constexpr double kLogitBytes = 6;       // a logit in bf16 and fp32

double as_double(int64_t number) { return static_cast<double>(number); }

double state_bytes(const StepQuestion& question) {
  const ModelShape& model = question.model;
  const double tables = model.table_weights() * (question.pipeline == 1 ? 2 : 1);
  const double layers = as_double(model.layers) / as_double(question.pipeline);
  const double weights = (model.layer_weights() * layers + tables) / as_double(question.tensor);
  if (question.sharding == Sharding::kWeights) {
    const double gathered = 2 * 2 * weights / as_double(model.layers);  // two layers, in bf16
    return 16 * weights / as_double(question.weight_shards()) + gathered;
  }
  const double owners =
      question.sharding == Sharding::kNothing ? 1 : as_double(question.replicas());
  return weights * (4 + 12 / owners);
}

// Layers whose activations the first stage keeps at once.
double layers_in_flight(const StepQuestion& question) {
  const double layers = as_double(question.model.layers);
  const double stages = as_double(question.pipeline);
  if (question.pipeline == 1) return layers;
  const double ahead = stages * (1 + (stages - 1) / (stages * as_double(question.chunks)));
  return layers / stages * std::min(as_double(question.microbatches), ahead);
}

}  // namespace

double recompute_share_that_fits(const StepQuestion& question, const Hardware& hardware) {
  const ModelShape& model = question.model;
  const double tokens = as_double(question.tokens()) / as_double(question.tensor);
  const double row = as_double(
      2 * model.hidden + 2 * (model.heads + model.kv_heads) * model.head_dim + model.mlp_inputs());
  const double layers = layers_in_flight(question);
  const double kept = 2 * tokens * row * layers;
  const double inputs = 2 * tokens * as_double(model.hidden) * layers;
  const double logits = question.pipeline == 1 ? tokens * as_double(model.vocab) * kLogitBytes : 0;
  const double available = hardware.memory_bytes - state_bytes(question) - logits - kReservedBytes;
  if (kept <= available) return 0;
  return std::clamp((kept - available) / (kept - inputs), 0.0, 1.0);
}

}  // namespace leasehold
