// Llama's parameters (Touvron et al., arXiv:2302.13971; grouped heads, arXiv:2307.09288): no biases
// and no position table. They are initialised normal with deviation 0.02, projections back into the
// residual stream 0.02 / sqrt(2 layers), gains 1. Matrices and tables decay. The tensor axis cuts
// kv heads, channels inside the mlp, columns of both projections, and the vocabulary.
#include <cmath>

#include "models/describe_family.h"

namespace leasehold {

namespace {

constexpr auto kOne = Initializer::Kind::kOne;
constexpr double kDeviation = 0.02;

void describe_block(const ModelConfig& config, const std::string& name,
                    std::vector<ParameterSpec>& specs) {
  const int64_t C = config.hidden, F = config.ffn, G = config.kv_heads,
                slots = config.heads / G + 2, D = config.head_dim();
  const double residual_deviation =
      kDeviation / std::sqrt(2.0 * static_cast<double>(config.layers));

  specs.push_back(vector_spec(name + ".attention.norm.weight", {C}, kOne));
  // For each kv head: its query heads, then the key, then the value. Rotary pairs are channels (i,
  // i + D/2).
  specs.push_back(
      cut(matrix_spec(name + ".attention.qkv.weight", {G, slots, D, C}, kDeviation), 0));
  specs.push_back(
      cut(matrix_spec(name + ".attention.projection.weight", {C, C}, residual_deviation), 1));

  specs.push_back(vector_spec(name + ".mlp.norm.weight", {C}, kOne));
  // The gate, then the channels that it multiplies.
  specs.push_back(cut(matrix_spec(name + ".mlp.gate_up.weight", {2, F, C}, kDeviation), 1));
  specs.push_back(cut(matrix_spec(name + ".mlp.projection.weight", {C, F}, residual_deviation), 1));
}

}  // namespace

std::vector<ParameterSpec> describe_llama(const ModelConfig& config) {
  const int64_t V = config.vocab, C = config.hidden;
  std::vector<ParameterSpec> specs;
  // If the head uses the table too, gradient slot 0 is the embedding's, 1 the head's.
  specs.push_back(cut(matrix_spec("embedding.token.weight", {V, C}, kDeviation), 0));
  specs.back().num_gradient_slots = config.tied ? 2 : 1;
  for (int64_t i = 0; i < config.layers; ++i)
    describe_block(config, "blocks." + std::to_string(i), specs);
  specs.push_back(vector_spec("norm.weight", {C}, kOne));
  if (!config.tied) specs.push_back(cut(matrix_spec("head.weight", {V, C}, kDeviation), 0));
  return specs;
}

}  // namespace leasehold
