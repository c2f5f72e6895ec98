// Describes a model without memory, kernels or ranks: its sizes, parameters and cost. The light
// tool and the planner link only this.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "runtime/base/status.h"
#include "runtime/module/parameter.h"

namespace leasehold {

// The job file's [model] table. Where 0 stands for a default, complete_model_config fills it in.
struct ModelConfig {
  std::string family = "gpt2";  // or "llama"
  int64_t layers = 0;
  int64_t hidden = 0;    // C
  int64_t heads = 0;     // H
  int64_t kv_heads = 0;  // G; 0: as many as heads
  // Channels inside the mlp, F. 0 means 4 * hidden for gpt2, and 8/3 * hidden, rounded up to a
  // multiple of 256, for llama.
  int64_t ffn = 0;
  int64_t sequence = 0;  // positions, the largest T
  int64_t vocab = 0;     // V, unpadded
  double dropout = 0;    // of embedding, attention probabilities and both residual branches
  double norm_eps = 1e-5;
  // True if the head multiplies by the token table. Always true for gpt2: complete_model_config
  // sets it.
  bool tied = false;

  // Rotary positions: pair i of a head of D channels turns by position * theta^(-2i/D) (Su et al.,
  // arXiv:2104.09864). gpt2 has none: there all of these keep their defaults, with theta 0.
  double rope_theta = 0;  // 0: 10000 for llama
  // Llama-3's stretching of the slow pairs, "llama3" in Hugging Face's config.json. 0 means none.
  double rope_factor = 0;
  double rope_low_freq_factor = 1;
  double rope_high_freq_factor = 4;
  int64_t rope_original_sequence = 8192;

  int64_t head_dim() const { return hidden / heads; }
  bool operator==(const ModelConfig&) const = default;
};

// Fills in the defaults and checks everything. kBadConfig, naming the key as the job file spells it
// ("model.heads") and values that would work. The functions below require a complete configuration.
Result<ModelConfig> complete_model_config(ModelConfig config);

// Convert a configuration to text by key ("layers" -> "12") and back, so that a checkpoint can say
// which model it holds. The result is complete. The keys norm_eps, tied and rope_* may be missing:
// older checkpoints lack them. kBadData if another key is missing, unknown or unreadable.
std::map<std::string, std::string> to_map(const ModelConfig& config);
Result<ModelConfig> model_config_from_map(const std::map<std::string, std::string>& map);

// Returns every parameter, in order of use in forward, with shape, placement and initial value. The
// tables are in describe_gpt2.cc and describe_llama.cc. Weights of linears are (out, in), whatever
// the logical dims of `out`.
std::vector<ParameterSpec> describe_parameters(const ModelConfig& config);

// Returns the units in order of forward ("embedding", "blocks.N", "head"), each with the parameters
// that it uses.
std::vector<UnitSpec> describe_units(const ModelConfig& config);

int64_t num_parameters(const ModelConfig& config);

// Returns the floating-point operations of forward and backward per token at T = sequence: 6 N + 12
// layers T C (Chowdhery et al., "PaLM", arXiv:2204.02311, appendix B). The attention term has no
// discount for causality. N leaves out tables that are only looked up: positions, and tokens if the
// head has a matrix of its own.
int64_t flops_per_token(const ModelConfig& config);

}  // namespace leasehold
