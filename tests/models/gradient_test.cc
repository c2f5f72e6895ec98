// Tests every backward against central differences of its forward, in double: layer by layer, then
// whole models.
#include <gtest/gtest.h>

#include "models/attention.h"
#include "models/block.h"
#include "models/embedding.h"
#include "models/gpt.h"
#include "models/head.h"
#include "models/mlp.h"
#include "runtime/device/cpu_device.h"
#include "tests/models/gradient_check.h"
#include "tests/support/reference_kernels.h"

namespace leasehold {
namespace {

constexpr int64_t kB = 2, kT = 6, kN = kB * kT;

ModelConfig small_gpt2(double dropout) {
  ModelConfig config;
  config.layers = 2;
  config.hidden = 12;
  config.heads = 3;
  config.ffn = 20;
  config.sequence = 8;  // more than T: the rest of the position table is unused
  config.vocab = 11;
  config.dropout = dropout;
  return complete_model_config(config).value();
}

// Returns a llama with grouped heads. The head has its own matrix or uses the token table. Rotary
// positions are plain, or scaled so that of three pairs one is slow, one fast and one between.
ModelConfig small_llama(double dropout, bool tied, bool scaled) {
  ModelConfig config;
  config.family = "llama";
  config.layers = 2;
  config.hidden = 24;
  config.heads = 4;
  config.kv_heads = 2;
  config.ffn = 20;
  config.sequence = 8;
  config.vocab = 11;
  config.dropout = dropout;
  config.tied = tied;
  config.norm_eps = 1e-3;
  config.rope_theta = 50;
  if (scaled) {
    config.rope_factor = 4;
    config.rope_original_sequence = 16;
    config.rope_low_freq_factor = 0.5;
    config.rope_high_freq_factor = 2;
  }
  return complete_model_config(config).value();
}

struct Variant {
  const char* name;
  ModelConfig config;
  Recompute recompute = Recompute::kNone;
};

std::vector<Variant> variants() {
  return {{"Gpt2", small_gpt2(0)},
          {"Gpt2WithDropout", small_gpt2(0.25)},
          {"Llama", small_llama(0, false, false)},
          {"LlamaWithDropout", small_llama(0.25, false, true)},
          {"LlamaTiedAndScaled", small_llama(0, true, true)},
          {"Gpt2RecomputingBlocks", small_gpt2(0.25), Recompute::kBlock},
          {"LlamaRecomputingAttention", small_llama(0.25, true, false), Recompute::kAttention},
          {"LlamaRecomputingBlocks", small_llama(0, false, true), Recompute::kBlock}};
}

std::vector<ParameterSpec> specs_with_prefix(const ModelConfig& config, const std::string& prefix) {
  std::vector<ParameterSpec> specs;
  for (const ParameterSpec& spec : describe_parameters(config)) {
    if (spec.name.starts_with(prefix)) specs.push_back(spec);
  }
  return specs;
}

class GradientTest : public testing::TestWithParam<Variant> {
 protected:
  ModuleHarness harness(const std::string& prefix, const ModuleHarness::Factory& create) {
    return this->harness(specs_with_prefix(config_, prefix), create);
  }
  ModuleHarness harness(const std::vector<ParameterSpec>& specs,
                        const ModuleHarness::Factory& create) {
    ModuleHarness harness(*device_, *kernels_, specs, create, kB, kT, GetParam().recompute);
    harness.randomize(5, 0.3);
    harness.seed = 17;
    harness.microbatch.step = 3;
    harness.microbatch.index = 4;
    return harness;
  }

  const ModelConfig config_ = GetParam().config;
  const std::unique_ptr<CpuDevice> device_ = CpuDevice::create({});
  const std::unique_ptr<Kernels> kernels_ = create_reference_kernels();
};

TEST_P(GradientTest, Attention) {
  ModuleHarness harness = this->harness("blocks.0.attention", [&](ParameterTable& parameters) {
    return std::make_unique<Attention>(config_, parameters, "blocks.0.attention");
  });
  expect_gradients_of_layer(harness, {kN, config_.hidden}, false, 1);
}

TEST_P(GradientTest, Mlp) {
  ModuleHarness harness = this->harness("blocks.0.mlp.", [&](ParameterTable& parameters) {
    return std::make_unique<Mlp>(config_, parameters, "blocks.0.mlp");
  });
  expect_gradients_of_layer(harness, {kN, config_.hidden}, false, 2);
}

TEST_P(GradientTest, Block) {
  for (const bool in_place : {false, true}) {
    SCOPED_TRACE(in_place ? "in place" : "not in place");
    ModuleHarness harness = this->harness("blocks.1.", [&](ParameterTable& parameters) {
      return std::make_unique<Block>(config_, parameters, "blocks.1");
    });
    expect_gradients_of_layer(harness, {kN, config_.hidden}, in_place, 3);
  }
}

TEST_P(GradientTest, Embedding) {
  ModuleHarness harness = this->harness("embedding.", [&](ParameterTable& parameters) {
    return std::make_unique<Embedding>(config_, parameters, "embedding");
  });
  harness.random_microbatch(config_.vocab, 6);
  const Shape shape{kN, config_.hidden};
  const Tensor output = harness.tensor(DType::kF64, shape);
  const Tensor weights = harness.random_tensor(shape, 7);
  harness.forward_backward({}, output, weights, {});
  const auto objective = [&] {
    harness.forward({}, output);
    double sum = 0;
    for (int64_t i = 0; i < kN * config_.hidden; ++i)
      sum += element(output, i) * element(weights, i);
    return sum;
  };
  for (const auto& parameter : harness.parameters().all()) {
    expect_gradient(parameter->name(), parameter->value(), parameter->gradient(), objective, 8);
  }
}

TEST_P(GradientTest, HeadInOneChunkAndInSeveral) {
  auto specs = specs_with_prefix(config_, "norm.");
  const std::string table_name = config_.tied ? "embedding.token.weight" : "head.weight";
  specs.push_back(specs_with_prefix(config_, table_name).at(0));
  for (const int64_t chunk_rows : {0, 5}) {
    SCOPED_TRACE(chunk_rows);
    ModuleHarness harness = this->harness(specs, [&](ParameterTable& parameters) {
      return std::make_unique<Head>(config_, parameters, "head", chunk_rows);
    });
    harness.random_microbatch(config_.vocab, 10);
    harness.microbatch.targets.as<int32_t>()[3] = -1;
    harness.microbatch.num_targets = kN - 1;
    const Tensor input = harness.random_tensor({kN, config_.hidden}, 11);
    const Tensor input_gradient = harness.tensor(DType::kF64, {kN, config_.hidden});
    harness.forward_backward(input, {}, {}, input_gradient);
    const double loss_of_backward = harness.mean_loss();
    const auto objective = [&] {
      harness.forward(input, {});
      return harness.mean_loss();
    };
    EXPECT_DOUBLE_EQ(loss_of_backward, objective());
    expect_gradient("input", input, input_gradient, objective, 12);
    for (const ParameterUse& use : harness.module().uses()) {
      expect_gradient(use.parameter->name(), use.parameter->value(),
                      use.parameter->gradient(use.slot), objective, 13);
    }
  }
}

TEST_P(GradientTest, WholeModel) {
  ModuleHarness harness = this->harness(
      "", [&](ParameterTable& parameters) { return create_gpt(config_, parameters).value(); });
  harness.random_microbatch(config_.vocab, 15);
  harness.microbatch.targets.as<int32_t>()[0] = -1;
  harness.microbatch.num_targets = kN - 1;
  expect_gradients_of_model(harness, 16);
}

INSTANTIATE_TEST_SUITE_P(, GradientTest, testing::ValuesIn(variants()),
                         [](const auto& tested) { return std::string(tested.param.name); });

}  // namespace
}  // namespace leasehold
