// GPT-2's parameters, initialised as GPT-2 was: normal with deviation 0.02, positions 0.01,
// projections back into the residual stream 0.02 / sqrt(2 layers), biases 0, gains 1. Matrices and
// tables decay, as in nanoGPT. The tensor axis cuts kv heads, rows of fc, columns of both
// projections, and the vocabulary.
#include <cmath>

#include "models/describe_family.h"

namespace leasehold {

namespace {

constexpr auto kZero = Initializer::Kind::kZero;
constexpr auto kOne = Initializer::Kind::kOne;
constexpr double kDeviation = 0.02;

void describe_norm(const std::string& name, int64_t C, std::vector<ParameterSpec>& specs) {
  specs.push_back(vector_spec(name + ".weight", {C}, kOne));
  specs.push_back(vector_spec(name + ".bias", {C}, kZero));
}

void describe_block(const ModelConfig& config, const std::string& name,
                    std::vector<ParameterSpec>& specs) {
  const int64_t C = config.hidden, F = config.ffn, G = config.kv_heads,
                slots = config.heads / G + 2, D = config.head_dim();
  const double residual_deviation =
      kDeviation / std::sqrt(2.0 * static_cast<double>(config.layers));

  describe_norm(name + ".attention.norm", C, specs);
  // For each kv head: its query heads, then the key, then the value.
  specs.push_back(
      cut(matrix_spec(name + ".attention.qkv.weight", {G, slots, D, C}, kDeviation), 0));
  specs.push_back(cut(vector_spec(name + ".attention.qkv.bias", {G, slots, D}, kZero), 0));
  specs.push_back(
      cut(matrix_spec(name + ".attention.projection.weight", {C, C}, residual_deviation), 1));
  specs.push_back(vector_spec(name + ".attention.projection.bias", {C}, kZero));

  describe_norm(name + ".mlp.norm", C, specs);
  specs.push_back(cut(matrix_spec(name + ".mlp.fc.weight", {F, C}, kDeviation), 0));
  specs.push_back(cut(vector_spec(name + ".mlp.fc.bias", {F}, kZero), 0));
  specs.push_back(cut(matrix_spec(name + ".mlp.projection.weight", {C, F}, residual_deviation), 1));
  specs.push_back(vector_spec(name + ".mlp.projection.bias", {C}, kZero));
}

}  // namespace

std::vector<ParameterSpec> describe_gpt2(const ModelConfig& config) {
  const int64_t V = config.vocab, C = config.hidden;
  std::vector<ParameterSpec> specs;
  // The head uses the table too: gradient slot 0 is the embedding's, 1 the head's.
  specs.push_back(cut(matrix_spec("embedding.token.weight", {V, C}, kDeviation), 0));
  specs.back().num_gradient_slots = 2;
  specs.push_back(matrix_spec("embedding.position.weight", {config.sequence, C}, 0.01));
  for (int64_t i = 0; i < config.layers; ++i)
    describe_block(config, "blocks." + std::to_string(i), specs);
  describe_norm("norm", C, specs);
  return specs;
}

}  // namespace leasehold
