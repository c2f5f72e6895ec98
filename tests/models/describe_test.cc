#include "models/describe.h"

#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <set>

namespace leasehold {
namespace {

ModelConfig gpt2_124m() {
  ModelConfig config;
  config.layers = 12;
  config.hidden = 768;
  config.heads = 12;
  config.sequence = 1024;
  config.vocab = 50257;
  return complete_model_config(config).value();
}

ModelConfig llama3_8b() {
  ModelConfig config;
  config.family = "llama";
  config.layers = 32;
  config.hidden = 4096;
  config.heads = 32;
  config.kv_heads = 8;
  config.ffn = 14336;
  config.sequence = 8192;
  config.vocab = 128256;
  config.rope_theta = 500000;
  return complete_model_config(config).value();
}

const ParameterSpec& find(const std::vector<ParameterSpec>& specs, const std::string& name) {
  const auto found = std::find_if(specs.begin(), specs.end(),
                                  [&](const ParameterSpec& spec) { return spec.name == name; });
  if (found == specs.end()) throw std::runtime_error("no parameter " + name);
  return *found;
}

void expect_refused(const ModelConfig& config, const std::vector<std::string>& words) {
  const auto result = complete_model_config(config);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.status().code(), Code::kBadConfig);
  for (const std::string& word : words) {
    EXPECT_NE(result.status().message().find(word), std::string::npos) << result.status().message();
  }
}

TEST(DescribeTest, DefaultsAreFilled) {
  const ModelConfig config = gpt2_124m();
  EXPECT_EQ(config.ffn, 3072);
  EXPECT_EQ(config.kv_heads, 12);
  EXPECT_EQ(config.head_dim(), 64);
  EXPECT_TRUE(config.tied);
  EXPECT_EQ(config.norm_eps, 1e-5);
  EXPECT_EQ(config.rope_theta, 0);
}

TEST(DescribeTest, DefaultsOfLlamaAreItsOwn) {
  ModelConfig config = gpt2_124m();
  config.family = "llama";
  config.ffn = config.kv_heads = 0;
  config.tied = false;
  config = complete_model_config(config).value();
  EXPECT_EQ(config.ffn, 2048);  // 8/3 * 768
  EXPECT_EQ(config.kv_heads, 12);
  EXPECT_FALSE(config.tied);
  EXPECT_EQ(config.rope_theta, 10000);
  EXPECT_EQ(config.rope_factor, 0);
  config.ffn = 0;
  config.hidden = 4096;
  config.heads = 32;
  config.kv_heads = 8;
  EXPECT_EQ(complete_model_config(config).value().ffn, 11008);  // as in Llama 7B
}

TEST(DescribeTest, CountsAreThePublishedOnes) {
  EXPECT_EQ(num_parameters(gpt2_124m()), 124439808);
  // GPT-2 XL, 1558M.
  ModelConfig xl = gpt2_124m();
  xl.layers = 48;
  xl.hidden = 1600;
  xl.heads = xl.kv_heads = 25;
  xl.ffn = 6400;
  EXPECT_EQ(num_parameters(xl), 1557611200);

  EXPECT_EQ(num_parameters(llama3_8b()), 8030261248);
  // Llama 3.2 1B, whose head is its token table.
  ModelConfig small = llama3_8b();
  small.layers = 16;
  small.hidden = 2048;
  small.ffn = 8192;
  small.tied = true;
  EXPECT_EQ(num_parameters(small), 1235814400);
}

TEST(DescribeTest, FlopsFollowTheFormula) {
  const int64_t N = 124439808 - 1024 * 768;
  EXPECT_EQ(flops_per_token(gpt2_124m()), 6 * N + 12 * int64_t{12} * 1024 * 768);
  ModelConfig llama = llama3_8b();
  const int64_t attention = 12 * int64_t{32} * 8192 * 4096;
  EXPECT_EQ(flops_per_token(llama), 6 * (8030261248 - int64_t{128256} * 4096) + attention);
  llama.tied = true;  // the same products
  EXPECT_EQ(flops_per_token(llama), 6 * (8030261248 - int64_t{128256} * 4096) + attention);
}

TEST(DescribeTest, NamesComeInOrderOfUse) {
  ModelConfig config = gpt2_124m();
  config.layers = 1;
  std::vector<std::string> names;
  for (const ParameterSpec& spec : describe_parameters(config)) names.push_back(spec.name);
  const std::vector<std::string> expected = {"embedding.token.weight",
                                             "embedding.position.weight",
                                             "blocks.0.attention.norm.weight",
                                             "blocks.0.attention.norm.bias",
                                             "blocks.0.attention.qkv.weight",
                                             "blocks.0.attention.qkv.bias",
                                             "blocks.0.attention.projection.weight",
                                             "blocks.0.attention.projection.bias",
                                             "blocks.0.mlp.norm.weight",
                                             "blocks.0.mlp.norm.bias",
                                             "blocks.0.mlp.fc.weight",
                                             "blocks.0.mlp.fc.bias",
                                             "blocks.0.mlp.projection.weight",
                                             "blocks.0.mlp.projection.bias",
                                             "norm.weight",
                                             "norm.bias"};
  EXPECT_EQ(names, expected);
}

TEST(DescribeTest, LlamaHasNeitherBiasesNorPositions) {
  ModelConfig config = llama3_8b();
  config.layers = 1;
  const auto names_of = [](const ModelConfig& described) {
    std::vector<std::string> names;
    for (const ParameterSpec& spec : describe_parameters(described)) names.push_back(spec.name);
    return names;
  };
  std::vector<std::string> expected = {"embedding.token.weight",
                                       "blocks.0.attention.norm.weight",
                                       "blocks.0.attention.qkv.weight",
                                       "blocks.0.attention.projection.weight",
                                       "blocks.0.mlp.norm.weight",
                                       "blocks.0.mlp.gate_up.weight",
                                       "blocks.0.mlp.projection.weight",
                                       "norm.weight",
                                       "head.weight"};
  EXPECT_EQ(names_of(config), expected);
  EXPECT_EQ(find(describe_parameters(config), "embedding.token.weight").num_gradient_slots, 1);
  config.tied = true;
  expected.pop_back();
  EXPECT_EQ(names_of(config), expected);
  EXPECT_EQ(find(describe_parameters(config), "embedding.token.weight").num_gradient_slots, 2);
}

TEST(DescribeTest, ShapesOfLlamaAreLogicalAndCut) {
  ParameterTable whole(describe_parameters(llama3_8b()));
  ParameterTable half(describe_parameters(llama3_8b()), {.tensor = 2});
  const auto expect_shapes = [&](const std::string& name, const Shape& global, const Shape& local) {
    EXPECT_EQ(whole.at(name).local_shape(), global) << name;
    EXPECT_EQ(half.at(name).local_shape(), local) << name;
  };
  expect_shapes("embedding.token.weight", {128256, 4096}, {64128, 4096});
  expect_shapes("head.weight", {128256, 4096}, {64128, 4096});
  expect_shapes("blocks.0.attention.qkv.weight", {8, 6, 128, 4096}, {4, 6, 128, 4096});
  expect_shapes("blocks.0.attention.projection.weight", {4096, 4096}, {4096, 2048});
  expect_shapes("blocks.31.mlp.gate_up.weight", {2, 14336, 4096}, {2, 7168, 4096});
  expect_shapes("blocks.31.mlp.projection.weight", {4096, 14336}, {4096, 7168});
  expect_shapes("blocks.31.mlp.norm.weight", {4096}, {4096});
}

TEST(DescribeTest, ShapesAreLogical) {
  const auto specs = describe_parameters(gpt2_124m());
  EXPECT_EQ(find(specs, "embedding.token.weight").shape, (Shape{50257, 768}));
  EXPECT_EQ(find(specs, "embedding.token.weight").num_gradient_slots, 2);
  EXPECT_EQ(find(specs, "embedding.position.weight").num_gradient_slots, 1);
  EXPECT_EQ(find(specs, "blocks.11.attention.qkv.weight").shape, (Shape{12, 3, 64, 768}));
  EXPECT_EQ(find(specs, "blocks.11.attention.qkv.bias").shape, (Shape{12, 3, 64}));
  EXPECT_EQ(find(specs, "blocks.3.mlp.fc.weight").shape, (Shape{3072, 768}));
  EXPECT_EQ(find(specs, "blocks.3.mlp.projection.weight").shape, (Shape{768, 3072}));
}

TEST(DescribeTest, MatricesAndTablesDecayAndNothingElse) {
  std::set<std::string> decaying;
  ModelConfig config = gpt2_124m();
  config.layers = 1;
  for (const ParameterSpec& spec : describe_parameters(config)) {
    if (spec.decay) decaying.insert(spec.name);
  }
  EXPECT_EQ(decaying, (std::set<std::string>{
                          "embedding.token.weight", "embedding.position.weight",
                          "blocks.0.attention.qkv.weight", "blocks.0.attention.projection.weight",
                          "blocks.0.mlp.fc.weight", "blocks.0.mlp.projection.weight"}));
}

TEST(DescribeTest, StartsAsGpt2Did) {
  const auto specs = describe_parameters(gpt2_124m());
  const auto deviation = [&](const std::string& name) {
    EXPECT_EQ(find(specs, name).initializer.kind, Initializer::Kind::kNormal) << name;
    return find(specs, name).initializer.standard_deviation;
  };
  EXPECT_EQ(deviation("embedding.token.weight"), 0.02);
  EXPECT_EQ(deviation("embedding.position.weight"), 0.01);
  EXPECT_EQ(deviation("blocks.0.mlp.fc.weight"), 0.02);
  EXPECT_DOUBLE_EQ(deviation("blocks.0.mlp.projection.weight"), 0.02 / std::sqrt(24.0));
  EXPECT_DOUBLE_EQ(deviation("blocks.0.attention.projection.weight"), 0.02 / std::sqrt(24.0));
  EXPECT_EQ(find(specs, "norm.weight").initializer.kind, Initializer::Kind::kOne);
  EXPECT_EQ(find(specs, "norm.bias").initializer.kind, Initializer::Kind::kZero);
  EXPECT_EQ(find(specs, "blocks.0.attention.qkv.bias").initializer.kind, Initializer::Kind::kZero);
}

// Half of a model on each of two tensor ranks has boxes of the logical shapes.
TEST(DescribeTest, TensorAxisCutsHeadsRowsAndColumns) {
  ModelConfig config = gpt2_124m();
  config.vocab = 50258;
  ParameterTable table(describe_parameters(config), {.tensor = 2});
  EXPECT_EQ(table.at("embedding.token.weight").local_shape(), (Shape{25129, 768}));
  EXPECT_EQ(table.at("embedding.position.weight").local_shape(), (Shape{1024, 768}));
  EXPECT_EQ(table.at("blocks.0.attention.qkv.weight").local_shape(), (Shape{6, 3, 64, 768}));
  EXPECT_EQ(table.at("blocks.0.attention.qkv.bias").local_shape(), (Shape{6, 3, 64}));
  EXPECT_EQ(table.at("blocks.0.attention.projection.weight").local_shape(), (Shape{768, 384}));
  EXPECT_EQ(table.at("blocks.0.attention.projection.bias").local_shape(), (Shape{768}));
  EXPECT_EQ(table.at("blocks.0.mlp.fc.weight").local_shape(), (Shape{1536, 768}));
  EXPECT_EQ(table.at("blocks.0.mlp.fc.bias").local_shape(), (Shape{1536}));
  EXPECT_EQ(table.at("blocks.0.mlp.projection.weight").local_shape(), (Shape{768, 1536}));
}

TEST(DescribeTest, RefusalsSayWhatToWrite) {
  ModelConfig config = gpt2_124m();
  config.heads = 10;
  config.kv_heads = 0;
  expect_refused(config, {"model.heads = 10", "model.hidden = 768", "8", "12", "770"});

  config = gpt2_124m();
  config.heads = 1000;
  config.kv_heads = 0;
  expect_refused(config, {"model.heads = 1000", "768"});

  config = gpt2_124m();
  config.kv_heads = 4;
  expect_refused(config, {"model.kv_heads = 4", "12"});

  config = gpt2_124m();
  config.family = "bert";
  expect_refused(config, {"model.family", "bert", "gpt2", "llama"});

  for (const double eps : {0.0, -1.0, 1.0, std::nan("")}) {
    config = gpt2_124m();
    config.norm_eps = eps;
    expect_refused(config, {"model.norm_eps"});
  }
  config = gpt2_124m();
  config.rope_theta = 10000;
  expect_refused(config, {"model.rope_theta = 10000", "no rotary positions", "llama"});
  config = gpt2_124m();
  config.rope_original_sequence = 4096;
  expect_refused(config, {"model.rope_original_sequence = 4096", "no rotary positions"});

  config = gpt2_124m();
  config.dropout = 1;
  expect_refused(config, {"model.dropout = 1"});
  config.dropout = std::nan("");
  expect_refused(config, {"model.dropout"});

  for (const auto& [key, field] :
       {std::pair{"layers", &ModelConfig::layers}, std::pair{"hidden", &ModelConfig::hidden},
        std::pair{"heads", &ModelConfig::heads}, std::pair{"sequence", &ModelConfig::sequence},
        std::pair{"vocab", &ModelConfig::vocab}}) {
    for (const int64_t bad : {int64_t{0}, int64_t{-3}, int64_t{1} << 40}) {
      config = gpt2_124m();
      config.*field = bad;
      expect_refused(config, {"model." + std::string(key) + " = " + std::to_string(bad)});
    }
  }
}

TEST(DescribeTest, RefusalsOfLlamaSayWhatToWrite) {
  const auto changed = [](auto change) {
    ModelConfig config = llama3_8b();
    change(config);
    return config;
  };
  expect_refused(changed([](auto& config) { config.kv_heads = 5; }),
                 {"model.kv_heads = 5", "model.heads = 32", "1, 2, 4, 8, 16, 32"});
  expect_refused(changed([](auto& config) { config.kv_heads = 64; }), {"model.kv_heads = 64"});
  expect_refused(changed([](auto& config) { config.hidden = 32 * 33; }),
                 {"is 33, an odd number", "model.hidden = 1088"});
  for (const double theta : {-1.0, 0.5, 1e300, std::nan("")}) {
    expect_refused(changed([&](auto& config) { config.rope_theta = theta; }), {"model.rope_theta"});
  }
  for (const double factor : {-8.0, 0.5, 1e9, std::nan("")}) {
    expect_refused(changed([&](auto& config) { config.rope_factor = factor; }),
                   {"model.rope_factor"});
  }
  // Without a factor the other keys would have no effect.
  expect_refused(changed([](auto& config) { config.rope_low_freq_factor = 2; }),
                 {"model.rope_low_freq_factor = 2", "no effect"});
  expect_refused(changed([](auto& config) { config.rope_original_sequence = 4096; }),
                 {"model.rope_original_sequence = 4096", "no effect"});
  const auto scaled = [&](double low, double high) {
    return changed([&](auto& config) {
      config.rope_factor = 8;
      config.rope_low_freq_factor = low;
      config.rope_high_freq_factor = high;
    });
  };
  EXPECT_TRUE(complete_model_config(scaled(1, 4)).ok());
  expect_refused(scaled(4, 4), {"model.rope_low_freq_factor = 4", "such as 1 and 4"});
  expect_refused(scaled(0, 4), {"model.rope_low_freq_factor = 0"});
  expect_refused(scaled(1, std::nan("")), {"model.rope_high_freq_factor = nan"});
}

TEST(DescribeTest, MapOfLlamaGoesThereAndBack) {
  ModelConfig config = llama3_8b();
  config.rope_factor = 8;
  config.rope_low_freq_factor = 1.25;
  config.norm_eps = 1e-6;
  EXPECT_EQ(model_config_from_map(to_map(config)).value(), config);
  config.tied = true;
  EXPECT_EQ(model_config_from_map(to_map(config)).value(), config);
  auto bad = to_map(config);
  bad["tied"] = "1";
  EXPECT_EQ(model_config_from_map(bad).status().code(), Code::kBadData);
}

// A map as it was written before Leasehold had llama.
TEST(DescribeTest, MapsFromBeforeAKeyWasKnownAreRead) {
  const std::map<std::string, std::string> map{
      {"family", "gpt2"}, {"layers", "12"},     {"hidden", "768"},
      {"heads", "12"},    {"ffn", "3072"},      {"kv_heads", "12"},
      {"vocab", "50257"}, {"sequence", "1024"}, {"dropout", "0.1"},
  };
  ModelConfig expected = gpt2_124m();
  expected.dropout = 0.1;
  EXPECT_EQ(model_config_from_map(map).value(), expected);
  auto untied = map;
  untied["tied"] = "false";
  EXPECT_EQ(model_config_from_map(untied).status().code(), Code::kBadData);
}

TEST(DescribeTest, MapGoesThereAndBack) {
  ModelConfig config = gpt2_124m();
  config.dropout = 0.1;
  const auto map = to_map(config);
  EXPECT_EQ(map.at("hidden"), "768");
  EXPECT_EQ(model_config_from_map(map).value(), config);

  auto missing = map;
  missing.erase("vocab");
  auto unknown = map;
  unknown["colour"] = "green";
  auto unreadable = map;
  unreadable["layers"] = "12x";
  auto impossible = map;
  impossible["heads"] = "7";
  for (const auto& bad : {missing, unknown, unreadable, impossible}) {
    const auto result = model_config_from_map(bad);
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.status().code(), Code::kBadData);
  }
}

}  // namespace
}  // namespace leasehold
