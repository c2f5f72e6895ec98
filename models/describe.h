// What a model is, said without memory, kernels or ranks: its sizes, parameters and cost. The light
// tool and the planner link this alone.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "runtime/base/status.h"
#include "runtime/module/parameter.h"

namespace leasehold {

// The job file's [model] table. kv_heads and ffn may be 0 until complete_model_config fills them.
struct ModelConfig {
  std::string family = "gpt2";
  int64_t layers = 0;
  int64_t hidden = 0;    // C
  int64_t heads = 0;     // H
  int64_t kv_heads = 0;  // G; 0: as many as heads
  int64_t ffn = 0;       // channels inside the mlp; 0: 4 * hidden
  int64_t sequence = 0;  // positions, the largest T
  int64_t vocab = 0;     // V, unpadded
  double dropout = 0;    // of embedding, attention probabilities and both residual branches

  int64_t head_dim() const { return hidden / heads; }
  bool operator==(const ModelConfig&) const = default;
};

// Fills the defaults and checks everything. kBadConfig, naming the key as the job file spells it
// ("model.heads") and values that would work. The functions below want a complete configuration.
Result<ModelConfig> complete_model_config(ModelConfig config);

// Text by key ("layers" -> "12"), for a checkpoint to say what model it holds; and back, complete.
// kBadData on a key that is missing, unknown or unreadable.
std::map<std::string, std::string> to_map(const ModelConfig& config);
Result<ModelConfig> model_config_from_map(const std::map<std::string, std::string>& map);

// Every parameter, in order of use in forward:
//   embedding.token.weight (V, C), which is also the head's: gradient slot 0 is the embedding, 1
//   the head embedding.position.weight (sequence, C) blocks.N.attention.norm.{weight,bias} (C)
//   blocks.N.attention.qkv.weight (kv_heads, q_per_kv + 2, head_dim, C), .bias without the C: per
//   kv head its query
//     heads, then key, then value
//   blocks.N.attention.projection.weight (C, C), .bias (C)
//   blocks.N.mlp.norm.{weight,bias} (C)
//   blocks.N.mlp.fc.weight (ffn, C), .bias (ffn)
//   blocks.N.mlp.projection.weight (C, ffn), .bias (C)
//   norm.{weight,bias} (C)
// Weights of linears are (out, in). Initialised as GPT-2 was: normal with deviation 0.02, positions
// 0.01, projections back into the residual stream 0.02 / sqrt(2 layers), biases 0, gains 1. Decay
// on matrices and tables, as nanoGPT. The tensor axis cuts kv heads, rows of fc, columns of both
// projections, and the vocabulary.
std::vector<ParameterSpec> describe_parameters(const ModelConfig& config);

// The units in order of forward: "embedding", "blocks.N", "head"; with the parameters that each
// uses.
std::vector<UnitSpec> describe_units(const ModelConfig& config);

int64_t num_parameters(const ModelConfig& config);

// Floating point operations of forward and backward per token at T = sequence: 6 N + 12 layers T C
// (Chowdhery et al., "PaLM", arXiv:2204.02311, appendix B), the attention term without a discount
// for causality. N leaves out the position table, which is looked up and never multiplied; the
// token table is the head's matrix and counts once.
int64_t flops_per_token(const ModelConfig& config);

}  // namespace leasehold
