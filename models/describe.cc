#include "models/describe.h"

#include <algorithm>
#include <charconv>
#include <limits>

#include "models/describe_family.h"

namespace leasehold {

namespace {

struct IntegerKey {
  const char* name;
  int64_t ModelConfig::*field;
  // A limit beyond any model, such that counts of parameters and operations fit 63 bits.
  int64_t largest;
  bool may_be_missing = false;  // from a checkpoint's map
};
constexpr IntegerKey kIntegerKeys[] = {
    {"layers", &ModelConfig::layers, 10000},
    {"hidden", &ModelConfig::hidden, 1 << 20},
    {"heads", &ModelConfig::heads, 1 << 20},
    {"kv_heads", &ModelConfig::kv_heads, 1 << 20},
    {"ffn", &ModelConfig::ffn, 1 << 22},
    {"sequence", &ModelConfig::sequence, 1 << 24},
    {"vocab", &ModelConfig::vocab, std::numeric_limits<int32_t>::max()},
    {"rope_original_sequence", &ModelConfig::rope_original_sequence, 1 << 24, true},
};

struct NumberKey {
  const char* name;
  double ModelConfig::*field;
  bool may_be_missing = false;
};
constexpr NumberKey kNumberKeys[] = {
    {"dropout", &ModelConfig::dropout},
    {"norm_eps", &ModelConfig::norm_eps, true},
    {"rope_theta", &ModelConfig::rope_theta, true},
    {"rope_factor", &ModelConfig::rope_factor, true},
    {"rope_low_freq_factor", &ModelConfig::rope_low_freq_factor, true},
    {"rope_high_freq_factor", &ModelConfig::rope_high_freq_factor, true},
};

// Returns the first rope key whose value a model without rotary positions would not have, or
// nothing.
std::string rope_key_in_use(const ModelConfig& config, bool theta_too) {
  const ModelConfig none;
  for (const NumberKey& key : kNumberKeys) {
    if (!theta_too && key.field == &ModelConfig::rope_theta) continue;
    const bool is_rope = std::string_view(key.name).starts_with("rope_");
    if (is_rope && config.*key.field != none.*key.field)
      return fmt::format("model.{} = {}", key.name, config.*key.field);
  }
  if (config.rope_original_sequence == none.rope_original_sequence) return "";
  return fmt::format("model.rope_original_sequence = {}", config.rope_original_sequence);
}

Status check_heads(const ModelConfig& config) {
  if (config.hidden % config.heads == 0) return ok_status();
  int64_t below = config.heads - 1;  // ends at 1, which divides everything
  while (config.hidden % below != 0) --below;
  int64_t above = std::min(config.heads, config.hidden);  // ends at hidden
  while (config.hidden % above != 0) ++above;
  const int64_t multiple = config.hidden / config.heads * config.heads;
  return error(Code::kBadConfig,
               "model.heads = {} does not divide model.hidden = {}: write model.heads = {} or {}, "
               "or model.hidden = {}",
               config.heads, config.hidden, below, above, multiple + config.heads);
}

Status check_kv_heads(const ModelConfig& config) {
  if (config.heads % config.kv_heads == 0) return ok_status();
  std::vector<int64_t> working;
  for (int64_t kv_heads = 1; kv_heads <= config.heads; ++kv_heads) {
    if (config.heads % kv_heads == 0) working.push_back(kv_heads);
  }
  return error(Code::kBadConfig,
               "model.kv_heads = {} does not divide model.heads = {}: write one of {}",
               config.kv_heads, config.heads, fmt::join(working, ", "));
}

Status check_gpt2(const ModelConfig& config) {
  if (config.kv_heads != config.heads) {
    return error(
        Code::kBadConfig,
        "model.kv_heads = {} but model.heads = {}: the gpt2 family has one kv head per head; leave "
        "model.kv_heads out or write {}",
        config.kv_heads, config.heads, config.heads);
  }
  const std::string in_use = rope_key_in_use(config, true);
  if (in_use.empty()) return ok_status();
  return error(Code::kBadConfig,
               "{}: the gpt2 family has no rotary positions; leave it out, or write model.family = "
               "\"llama\"",
               in_use);
}

Status check_llama(const ModelConfig& config) {
  LEASEHOLD_RETURN_IF_ERROR(check_kv_heads(config));
  if (config.head_dim() % 2 != 0) {
    return error(Code::kBadConfig,
                 "model.hidden = {} / model.heads = {} is {}, an odd number of channels in a head, "
                 "which rotary positions turn in pairs: write model.hidden = {}",
                 config.hidden, config.heads, config.head_dim(), config.hidden + config.heads);
  }
  if (!(config.rope_theta >= 1 && config.rope_theta <= 1e15)) {
    return error(Code::kBadConfig, "model.rope_theta = {}: write a number from 1 to 1e15",
                 config.rope_theta);
  }
  if (config.rope_factor == 0) {
    const std::string in_use = rope_key_in_use(config, false);
    if (in_use.empty()) return ok_status();
    return error(Code::kBadConfig,
                 "{} has no effect without model.rope_factor: write that too, or leave it out",
                 in_use);
  }
  if (!(config.rope_factor >= 1 && config.rope_factor <= 1e6)) {
    return error(Code::kBadConfig,
                 "model.rope_factor = {}: write 0 for no scaling, or a number from 1 to 1e6",
                 config.rope_factor);
  }
  if (!(config.rope_low_freq_factor > 0 &&
        config.rope_low_freq_factor < config.rope_high_freq_factor &&
        config.rope_high_freq_factor <= 1e6)) {
    return error(Code::kBadConfig,
                 "model.rope_low_freq_factor = {} and model.rope_high_freq_factor = {}: write the "
                 "first above 0 and the second above the first, such as 1 and 4",
                 config.rope_low_freq_factor, config.rope_high_freq_factor);
  }
  return ok_status();
}

template <typename T>
Status parse_number(const std::string& key, const std::string& text, T& value) {
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem == std::errc{} && end == text.data() + text.size()) return ok_status();
  return error(Code::kBadData, "model description: {} = '{}' is not a number", key, text);
}

}  // namespace

Result<ModelConfig> complete_model_config(ModelConfig config) {
  const bool llama = config.family == "llama";
  if (!llama && config.family != "gpt2") {
    return error(Code::kBadConfig, "model.family = \"{}\" is unknown: write \"gpt2\" or \"llama\"",
                 config.family);
  }
  if (config.kv_heads == 0) config.kv_heads = config.heads;
  if (config.ffn == 0) {
    const int64_t hidden = std::clamp<int64_t>(config.hidden, 1, 1 << 20);
    config.ffn = llama ? (8 * hidden + 3 * 256 - 1) / (3 * 256) * 256 : 4 * hidden;
  }
  if (llama && config.rope_theta == 0) config.rope_theta = 10000;
  if (!llama) config.tied = true;
  for (const IntegerKey& key : kIntegerKeys) {
    const int64_t value = config.*key.field;
    if (value < 1 || value > key.largest) {
      return error(Code::kBadConfig, "model.{} = {}: write a number from 1 to {}", key.name, value,
                   key.largest);
    }
  }
  LEASEHOLD_RETURN_IF_ERROR(check_heads(config));
  LEASEHOLD_RETURN_IF_ERROR(llama ? check_llama(config) : check_gpt2(config));
  if (!(config.dropout >= 0 && config.dropout < 1)) {
    return error(Code::kBadConfig, "model.dropout = {}: write a probability from 0 to below 1",
                 config.dropout);
  }
  if (!(config.norm_eps >= 1e-12 && config.norm_eps <= 0.1)) {
    return error(Code::kBadConfig,
                 "model.norm_eps = {}: write a number from 1e-12 to 0.1, such as 1e-5",
                 config.norm_eps);
  }
  return config;
}

std::map<std::string, std::string> to_map(const ModelConfig& config) {
  std::map<std::string, std::string> map{{"family", config.family},
                                         {"tied", config.tied ? "true" : "false"}};
  for (const IntegerKey& key : kIntegerKeys) map[key.name] = std::to_string(config.*key.field);
  for (const NumberKey& key : kNumberKeys) map[key.name] = fmt::format("{}", config.*key.field);
  return map;
}

Result<ModelConfig> model_config_from_map(const std::map<std::string, std::string>& map) {
  ModelConfig config;
  const std::map<std::string, std::string> known = to_map(config);
  for (const auto& [key, text] : map) {
    if (!known.contains(key))
      return error(Code::kBadData, "model description: unknown key '{}'", key);
  }
  if (!map.contains("family")) return error(Code::kBadData, "model description: no 'family'");
  config.family = map.at("family");
  const auto read = [&](const auto& key) -> Status {
    const auto entry = map.find(key.name);
    if (entry != map.end()) return parse_number(key.name, entry->second, config.*key.field);
    if (key.may_be_missing) return ok_status();
    return error(Code::kBadData, "model description: no '{}'", key.name);
  };
  for (const IntegerKey& key : kIntegerKeys) LEASEHOLD_RETURN_IF_ERROR(read(key));
  for (const NumberKey& key : kNumberKeys) LEASEHOLD_RETURN_IF_ERROR(read(key));
  const auto tied = map.find("tied");
  if (tied != map.end()) {
    if (tied->second != "true" && tied->second != "false")
      return error(Code::kBadData, "model description: tied = '{}' is not true or false",
                   tied->second);
    config.tied = tied->second == "true";
    if (!config.tied && config.family == "gpt2")
      return error(Code::kBadData, "model description: a gpt2 whose head is not its token table");
  }
  auto complete = complete_model_config(config);
  if (!complete.ok())
    return Status(Code::kBadData, "model description: " + complete.status().message());
  return complete;
}

std::vector<ParameterSpec> describe_parameters(const ModelConfig& config) {
  return config.family == "llama" ? describe_llama(config) : describe_gpt2(config);
}

std::vector<UnitSpec> describe_units(const ModelConfig& config) {
  std::vector<UnitSpec> units{{.name = "embedding", .uses = {}}};
  for (int64_t i = 0; i < config.layers; ++i)
    units.push_back({.name = "blocks." + std::to_string(i), .uses = {}});
  units.push_back({.name = "head", .uses = {}});
  std::vector<UseSpec> tied;
  for (const ParameterSpec& spec : describe_parameters(config)) {
    const std::string& name = spec.name;
    UnitSpec* unit = &units.back();
    if (name.starts_with("embedding.")) unit = &units.front();
    if (name.starts_with("blocks."))
      unit = &units[static_cast<size_t>(std::stoll(name.substr(7))) + 1];
    unit->uses.push_back({name, 0});
    for (int slot = 1; slot < spec.num_gradient_slots; ++slot) tied.push_back({name, slot});
  }
  units.back().uses.insert(units.back().uses.end(), tied.begin(), tied.end());
  return units;
}

int64_t num_parameters(const ModelConfig& config) {
  int64_t count = 0;
  for (const ParameterSpec& spec : describe_parameters(config)) count += spec.shape.num_elements();
  return count;
}

int64_t flops_per_token(const ModelConfig& config) {
  int64_t looked_up = 0;
  if (config.family == "gpt2") looked_up += config.sequence * config.hidden;
  if (!config.tied) looked_up += config.vocab * config.hidden;
  const int64_t N = num_parameters(config) - looked_up;
  return 6 * N + 12 * config.layers * config.sequence * config.hidden;
}

}  // namespace leasehold
