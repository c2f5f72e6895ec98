#include "models/describe.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

namespace leasehold {

namespace {

struct IntegerKey {
  const char* name;
  int64_t ModelConfig::*field;
  int64_t
      largest;  // beyond any model, and such that counts of parameters and operations fit 63 bits
};
constexpr IntegerKey kIntegerKeys[] = {
    {"layers", &ModelConfig::layers, 10000},
    {"hidden", &ModelConfig::hidden, 1 << 20},
    {"heads", &ModelConfig::heads, 1 << 20},
    {"kv_heads", &ModelConfig::kv_heads, 1 << 20},
    {"ffn", &ModelConfig::ffn, 1 << 22},
    {"sequence", &ModelConfig::sequence, 1 << 24},
    {"vocab", &ModelConfig::vocab, std::numeric_limits<int32_t>::max()},
};

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

ParameterSpec matrix(const std::string& name, const Shape& shape, double standard_deviation) {
  ParameterSpec spec;
  spec.name = name;
  spec.shape = shape;
  spec.initializer = {Initializer::Kind::kNormal, standard_deviation};
  spec.decay = true;
  return spec;
}

ParameterSpec vector(const std::string& name, const Shape& shape, Initializer::Kind kind) {
  ParameterSpec spec;
  spec.name = name;
  spec.shape = shape;
  spec.initializer.kind = kind;
  return spec;
}

ParameterSpec cut(ParameterSpec spec, int dim) {
  spec.placement[static_cast<size_t>(dim)] = Axis::kTensor;
  return spec;
}

void describe_norm(const std::string& name, int64_t C, std::vector<ParameterSpec>& specs) {
  specs.push_back(vector(name + ".weight", {C}, Initializer::Kind::kOne));
  specs.push_back(vector(name + ".bias", {C}, Initializer::Kind::kZero));
}

void describe_block(const ModelConfig& config, const std::string& name,
                    std::vector<ParameterSpec>& specs) {
  const int64_t C = config.hidden, G = config.kv_heads, slots = config.heads / G + 2,
                D = config.head_dim();
  const double deviation = 0.02;
  const double residual_deviation = deviation / std::sqrt(2.0 * static_cast<double>(config.layers));
  const auto zero = Initializer::Kind::kZero;

  describe_norm(name + ".attention.norm", C, specs);
  specs.push_back(cut(matrix(name + ".attention.qkv.weight", {G, slots, D, C}, deviation), 0));
  specs.push_back(cut(vector(name + ".attention.qkv.bias", {G, slots, D}, zero), 0));
  specs.push_back(
      cut(matrix(name + ".attention.projection.weight", {C, C}, residual_deviation), 1));
  specs.push_back(vector(name + ".attention.projection.bias", {C}, zero));

  describe_norm(name + ".mlp.norm", C, specs);
  specs.push_back(cut(matrix(name + ".mlp.fc.weight", {config.ffn, C}, deviation), 0));
  specs.push_back(cut(vector(name + ".mlp.fc.bias", {config.ffn}, zero), 0));
  specs.push_back(
      cut(matrix(name + ".mlp.projection.weight", {C, config.ffn}, residual_deviation), 1));
  specs.push_back(vector(name + ".mlp.projection.bias", {C}, zero));
}

template <typename T>
Status parse_number(const std::string& key, const std::string& text, T& value) {
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem == std::errc{} && end == text.data() + text.size()) return ok_status();
  return error(Code::kBadData, "model description: {} = '{}' is not a number", key, text);
}

}  // namespace

Result<ModelConfig> complete_model_config(ModelConfig config) {
  if (config.family == "llama") {
    return error(Code::kBadConfig,
                 "model.family = \"llama\" is not in this version of Leasehold: write \"gpt2\"");
  }
  if (config.family != "gpt2") {
    return error(Code::kBadConfig, "model.family = \"{}\" is unknown: write \"gpt2\"",
                 config.family);
  }
  if (config.kv_heads == 0) config.kv_heads = config.heads;
  if (config.ffn == 0) config.ffn = 4 * std::clamp<int64_t>(config.hidden, 1, 1 << 20);
  for (const IntegerKey& key : kIntegerKeys) {
    const int64_t value = config.*key.field;
    if (value < 1 || value > key.largest) {
      return error(Code::kBadConfig, "model.{} = {}: write a number from 1 to {}", key.name, value,
                   key.largest);
    }
  }
  LEASEHOLD_RETURN_IF_ERROR(check_heads(config));
  if (config.kv_heads != config.heads) {
    return error(
        Code::kBadConfig,
        "model.kv_heads = {} but model.heads = {}: the gpt2 family has one kv head per head; leave "
        "model.kv_heads out or write {}",
        config.kv_heads, config.heads, config.heads);
  }
  if (!(config.dropout >= 0 && config.dropout < 1)) {
    return error(Code::kBadConfig, "model.dropout = {}: write a probability from 0 to below 1",
                 config.dropout);
  }
  return config;
}

std::map<std::string, std::string> to_map(const ModelConfig& config) {
  std::map<std::string, std::string> map{{"family", config.family},
                                         {"dropout", fmt::format("{}", config.dropout)}};
  for (const IntegerKey& key : kIntegerKeys) map[key.name] = std::to_string(config.*key.field);
  return map;
}

Result<ModelConfig> model_config_from_map(const std::map<std::string, std::string>& map) {
  ModelConfig config;
  const std::map<std::string, std::string> known = to_map(config);
  for (const auto& [key, text] : map) {
    if (!known.contains(key))
      return error(Code::kBadData, "model description: unknown key '{}'", key);
  }
  for (const auto& entry : known) {
    if (!map.contains(entry.first))
      return error(Code::kBadData, "model description: no '{}'", entry.first);
  }
  config.family = map.at("family");
  LEASEHOLD_RETURN_IF_ERROR(parse_number("dropout", map.at("dropout"), config.dropout));
  for (const IntegerKey& key : kIntegerKeys) {
    LEASEHOLD_RETURN_IF_ERROR(parse_number(key.name, map.at(key.name), config.*key.field));
  }
  auto complete = complete_model_config(config);
  if (!complete.ok())
    return Status(Code::kBadData, "model description: " + complete.status().message());
  return complete;
}

std::vector<ParameterSpec> describe_parameters(const ModelConfig& config) {
  std::vector<ParameterSpec> specs;
  specs.push_back(cut(matrix("embedding.token.weight", {config.vocab, config.hidden}, 0.02), 0));
  specs.back().num_gradient_slots = 2;
  specs.push_back(matrix("embedding.position.weight", {config.sequence, config.hidden}, 0.01));
  for (int64_t i = 0; i < config.layers; ++i)
    describe_block(config, "blocks." + std::to_string(i), specs);
  describe_norm("norm", config.hidden, specs);
  return specs;
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
  const int64_t N = num_parameters(config) - config.sequence * config.hidden;
  return 6 * N + 12 * config.layers * config.sequence * config.hidden;
}

}  // namespace leasehold
