// Tests the gradients of whole models in bf16, with rounded activations, against the reference in
// double from the same weights.
#include <cmath>
#include <gtest/gtest.h>

#include "models/gpt.h"
#include "runtime/device/cpu_device.h"
#include "tests/support/module_harness.h"
#include "tests/support/reference_kernels.h"

namespace leasehold {
namespace {

constexpr int64_t kB = 3, kT = 40;
constexpr double kLossTolerance = 2e-3;
// For a parameter's gradient, in norm: a few roundings.
constexpr double kGradientTolerance = 0.02;

ModelConfig config_of(const std::string& family, double dropout) {
  ModelConfig config;
  config.family = family;
  config.layers = 2;
  config.hidden = 64;
  config.heads = 4;
  config.ffn = 100;
  config.sequence = kT;
  config.vocab = 61;
  config.dropout = dropout;
  if (family == "llama") config.kv_heads = 2;
  return complete_model_config(config).value();
}

double norm(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value * value;
  return std::sqrt(sum);
}

struct Bf16Model {
  const char* family;
  double dropout;
  Recompute recompute;
};

class Bf16GradientTest : public testing::TestWithParam<Bf16Model> {};

TEST_P(Bf16GradientTest, IsTheReferencesWithinRounding) {
  const ModelConfig config = config_of(GetParam().family, GetParam().dropout);
  const auto device = CpuDevice::create({.num_threads = 2});
  const auto make = [&](Kernels& kernels) {
    ModuleHarness harness(
        *device, kernels, describe_parameters(config),
        [&](ParameterTable& table) { return create_gpt(config, table).value(); }, kB, kT,
        GetParam().recompute);
    harness.randomize(5, 0.1);
    harness.random_microbatch(config.vocab, 7);
    return harness;
  };
  const auto kernels = create_cpu_kernels(*device, DType::kBf16);
  const auto reference_kernels = create_reference_kernels();
  ModuleHarness harness = make(*kernels), reference = make(*reference_kernels);
  auto &parameters = harness.parameters().all(), &expected = reference.parameters().all();
  for (size_t p = 0; p < parameters.size(); ++p) {
    for (int64_t i = 0; i < parameters[p]->value().num_elements(); ++i)
      set_element(expected[p]->value(), i, element(parameters[p]->value(), i));
  }
  harness.forward_backward({}, {}, {}, {});
  reference.forward_backward({}, {}, {}, {});
  EXPECT_NEAR(harness.mean_loss(), reference.mean_loss(), kLossTolerance * reference.mean_loss());
  for (size_t p = 0; p < parameters.size(); ++p) {
    for (int slot = 0; slot < parameters[p]->spec().num_gradient_slots; ++slot) {
      std::vector<double> difference = elements(parameters[p]->gradient(slot));
      const std::vector<double> exact = elements(expected[p]->gradient(slot));
      for (size_t i = 0; i < exact.size(); ++i) difference[i] -= exact[i];
      EXPECT_LE(norm(difference), kGradientTolerance * norm(exact)) << parameters[p]->name();
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, Bf16GradientTest,
                         testing::Values(Bf16Model{"gpt2", 0, Recompute::kNone},
                                         Bf16Model{"gpt2", 0.25, Recompute::kAttention},
                                         Bf16Model{"llama", 0, Recompute::kNone},
                                         Bf16Model{"llama", 0.25, Recompute::kBlock}),
                         [](const auto& tested) {
                           return fmt::format("{}{}", tested.param.family,
                                              tested.param.dropout > 0 ? "Dropping" : "");
                         });

}  // namespace
}  // namespace leasehold
