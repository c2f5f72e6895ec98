// Tests that recomputed activations are bit-identical to stored ones, and are not stored.
#include <algorithm>
#include <gtest/gtest.h>

#include "models/gpt.h"
#include "runtime/device/cpu_device.h"
#include "tests/support/module_harness.h"

namespace leasehold {
namespace {

constexpr int64_t kB = 2, kT = 40, kN = kB * kT;
constexpr Recompute kAll[] = {Recompute::kNone, Recompute::kAttention, Recompute::kBlock};

// The parameter is the family.
class RecomputeTest : public testing::TestWithParam<std::string> {
 protected:
  static ModelConfig config(double dropout, int64_t layers = 3) {
    ModelConfig config;
    config.family = GetParam();
    config.layers = layers;
    config.hidden = 48;
    config.heads = 4;
    config.ffn = 100;
    config.sequence = kT;
    config.vocab = 101;
    config.dropout = dropout;
    if (config.family == "llama") config.kv_heads = 2;
    return complete_model_config(config).value();
  }

  ModuleHarness harness(const ModelConfig& config, Recompute recompute) {
    return {*device_,
            *kernels_,
            describe_parameters(config),
            [&](ParameterTable& parameters) { return create_gpt(config, parameters).value(); },
            kB,
            kT,
            recompute};
  }

  // Returns the losses and every gradient of two microbatches, the second added to the first.
  std::vector<double> outcome(const ModelConfig& config, Recompute recompute) {
    ModuleHarness harness = this->harness(config, recompute);
    harness.randomize(3, 0.1);
    std::vector<double> values;
    for (uint64_t microbatch = 0; microbatch < 2; ++microbatch) {
      harness.random_microbatch(config.vocab, 10 + microbatch);
      harness.microbatch.index = microbatch;
      harness.gradients = microbatch == 0 ? Write::kOverwrite : Write::kAccumulate;
      harness.forward_backward({}, {}, {}, {});
      values.push_back(harness.mean_loss());
    }
    for (const ParameterUse& use : harness.module().uses()) {
      const auto more = elements(use.parameter->gradient(use.slot));
      values.insert(values.end(), more.begin(), more.end());
    }
    return values;
  }

  const std::unique_ptr<CpuDevice> device_ = CpuDevice::create({.num_threads = 2});
  const std::unique_ptr<Kernels> kernels_ = create_cpu_kernels(*device_);
};

TEST_P(RecomputeTest, ChangesNoBit) {
  for (const double dropout : {0.0, 0.2}) {
    const auto expected = outcome(config(dropout), Recompute::kNone);
    EXPECT_EQ(outcome(config(dropout), Recompute::kAttention), expected) << "dropout " << dropout;
    EXPECT_EQ(outcome(config(dropout), Recompute::kBlock), expected) << "dropout " << dropout;
  }
}

// Returns the elements that a block keeps per token: the residual stream after it, and the
// activations inside.
int64_t kept_elements(const ModelConfig& config, Recompute recompute) {
  const bool llama = config.family == "llama";
  const int64_t C = config.hidden, H = config.heads, F = config.ffn;
  const int64_t qkv = C + 2 * config.kv_heads * config.head_dim();
  const int64_t attention = qkv + C + H;              // with its output and log_sum_exp
  const int64_t norms = 2 * C + 2 * (llama ? 1 : 2);  // their outputs and statistics
  const int64_t mlp = (llama ? 3 : 2) * F;
  const int64_t middle = C;  // the residual stream between the halves
  switch (recompute) {
    case Recompute::kNone:
      return C + norms + attention + middle + mlp;
    case Recompute::kAttention:
      return C + norms + middle + mlp;
    default:
      return C;
  }
}

// Logits are not kept, and scratch does not grow with the layers.
TEST_P(RecomputeTest, KeepsWhatTheFormulaSays) {
  for (const Recompute recompute : kAll) {
    SCOPED_TRACE(static_cast<int>(recompute));
    const ModelConfig three = config(0.1, 3), five = config(0.1, 5);
    const ModuleHarness of_three = harness(three, recompute), of_five = harness(five, recompute);
    const int64_t more_bytes = of_five.activation_bytes() - of_three.activation_bytes();
    const int64_t expected_bytes = 2 * kN * kept_elements(three, recompute) * 4;
    EXPECT_GE(more_bytes, expected_bytes);
    EXPECT_LE(more_bytes, expected_bytes + 2 * 16 * Arena::kAlignmentBytes);
    EXPECT_EQ(of_five.scratch_bytes(), of_three.scratch_bytes());

    ModelConfig larger = three;
    larger.vocab = 1001;
    const ModuleHarness of_larger = harness(larger, recompute);
    EXPECT_EQ(of_larger.activation_bytes(), of_three.activation_bytes());
    EXPECT_GE(of_larger.scratch_bytes(), kN * 1001 * 4);
  }
}

// A recomputed block needs scratch for its inside once, however many blocks there are.
TEST_P(RecomputeTest, PaysForOneBlockInScratch) {
  const ModelConfig model = config(0.1);
  const int64_t none = harness(model, Recompute::kNone).scratch_bytes();
  const int64_t block = harness(model, Recompute::kBlock).scratch_bytes();
  const int64_t inside_bytes = kN * (kept_elements(model, Recompute::kNone) - model.hidden) * 4;
  EXPECT_GT(block, none);
  EXPECT_LE(block, none + inside_bytes + 16 * Arena::kAlignmentBytes);
}

INSTANTIATE_TEST_SUITE_P(, RecomputeTest, testing::Values("gpt2", "llama"),
                         [](const auto& tested) { return tested.param; });

}  // namespace
}  // namespace leasehold
