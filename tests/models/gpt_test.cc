// Tests the whole model: fast kernels against reference kernels, and the settings that must not
// change a bit of the result.
#include "models/gpt.h"

#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>

#include "runtime/device/cpu_device.h"
#include "tests/support/module_harness.h"
#include "tests/support/reference_kernels.h"

namespace leasehold {
namespace {

constexpr int64_t kB = 2, kT = 48, kN = kB * kT;
constexpr uint64_t kSeed = 21;

ModelConfig small_model(const std::string& family, double dropout) {
  ModelConfig config;
  config.family = family;
  config.layers = 3;
  config.hidden = 48;
  config.heads = 4;
  config.sequence = 64;
  config.vocab = 101;
  config.dropout = dropout;
  if (family == "llama") {
    config.kv_heads = 2;
    config.ffn = 100;
    config.rope_factor = 4;
    config.rope_original_sequence = 32;
  }
  return complete_model_config(config).value();
}

// A harness that owns its kernels and device.
struct Owned {
  Owned(const ModelConfig& config, std::unique_ptr<CpuDevice> own_device,
        std::unique_ptr<Kernels> own_kernels)
      : device(std::move(own_device)),
        kernels(std::move(own_kernels)),
        harness(
            *device, *kernels, describe_parameters(config),
            [&](ParameterTable& parameters) { return create_gpt(config, parameters).value(); }, kB,
            kT) {
    harness.randomize(kSeed, 0.1);
    harness.random_microbatch(config.vocab, kSeed + 1);
    harness.microbatch.targets.as<int32_t>()[5] = -1;
    harness.microbatch.num_targets = kN - 1;
    harness.microbatch.step = 2;
  }

  std::unique_ptr<CpuDevice> device;
  std::unique_ptr<Kernels> kernels;
  ModuleHarness harness;
};

Owned on_cpu(const ModelConfig& config, const CpuDeviceOptions& options = {}) {
  auto device = CpuDevice::create(options);
  auto kernels = create_cpu_kernels(*device);
  return {config, std::move(device), std::move(kernels)};
}

Owned on_reference(const ModelConfig& config, const CpuDeviceOptions& options = {}) {
  return {config, CpuDevice::create(options), create_reference_kernels()};
}

// Returns the loss and every gradient, to compare bits.
std::vector<double> outcome(ModuleHarness& harness) {
  harness.forward_backward({}, {}, {}, {});
  std::vector<double> values = {harness.mean_loss()};
  for (const auto& parameter : harness.parameters().all()) {
    for (int slot = 0; slot < parameter->spec().num_gradient_slots; ++slot) {
      const auto more = elements(parameter->gradient(slot));
      values.insert(values.end(), more.begin(), more.end());
    }
  }
  return values;
}

// Parameter: the family.
class GptTest : public testing::TestWithParam<std::string> {
 protected:
  static ModelConfig small_config(double dropout) { return small_model(GetParam(), dropout); }
};

TEST_P(GptTest, CpuKernelsAgreeWithReferenceKernels) {
  for (const double dropout : {0.0, 0.2}) {
    SCOPED_TRACE(dropout);
    Owned cpu = on_cpu(small_config(dropout));
    Owned reference = on_reference(small_config(dropout));
    cpu.harness.forward_backward({}, {}, {}, {});
    reference.harness.forward_backward({}, {}, {}, {});
    const double loss = reference.harness.mean_loss();
    EXPECT_NEAR(cpu.harness.mean_loss(), loss, 1e-6 * loss);
    for (const auto& parameter : reference.harness.parameters().all()) {
      for (int slot = 0; slot < parameter->spec().num_gradient_slots; ++slot) {
        const auto expected = elements(parameter->gradient(slot));
        const auto actual = elements(cpu.harness.parameters().at(parameter->name()).gradient(slot));
        double largest = 0, difference = 0;
        for (size_t i = 0; i < expected.size(); ++i) {
          largest = std::max(largest, std::abs(expected[i]));
          difference = std::max(difference, std::abs(expected[i] - actual[i]));
        }
        EXPECT_GT(largest, 1e-6) << parameter->name();
        EXPECT_LT(difference, 2e-5 * largest) << parameter->name() << " slot " << slot;
      }
    }
  }
}

TEST_P(GptTest, NothingButTheInputChangesABit) {
  const ModelConfig config = small_config(0.1);
  Owned first = on_cpu(config);
  const auto expected = outcome(first.harness);
  EXPECT_EQ(outcome(first.harness), expected) << "run again in the same memory";
  Owned threaded = on_cpu(config, {.num_threads = 3});
  EXPECT_EQ(outcome(threaded.harness), expected) << "three threads";
  Owned asynchronous = on_cpu(config, {.num_threads = 2, .asynchronous = true, .delay_seed = 5});
  EXPECT_EQ(outcome(asynchronous.harness), expected) << "asynchronous device";
}

TEST_P(GptTest, DropoutFollowsSeedStepAndMicrobatch) {
  Owned owned = on_reference(small_config(0.1));
  ModuleHarness& harness = owned.harness;
  const auto loss = [&] {
    harness.forward({}, {});
    return harness.mean_loss();
  };
  const double start = loss();
  harness.seed += 1;
  EXPECT_NE(loss(), start);
  harness.seed -= 1;
  harness.microbatch.step += 1;
  EXPECT_NE(loss(), start);
  harness.microbatch.step -= 1;
  harness.microbatch.index += 1;
  EXPECT_NE(loss(), start);
  harness.microbatch.index -= 1;
  EXPECT_EQ(loss(), start);
  harness.training = false;
  const double without_dropout = loss();
  EXPECT_NE(without_dropout, start);
  harness.microbatch.index += 1;
  EXPECT_EQ(loss(), without_dropout);
}

TEST_P(GptTest, AccumulatingAddsTheSecondMicrobatch) {
  Owned owned = on_reference(small_config(0));
  ModuleHarness& harness = owned.harness;
  const auto first = outcome(harness);
  harness.random_microbatch(101, 77);
  const auto second = outcome(harness);
  harness.random_microbatch(101, kSeed + 1);
  harness.microbatch.targets.as<int32_t>()[5] = -1;
  harness.microbatch.num_targets = kN - 1;
  outcome(harness);
  harness.random_microbatch(101, 77);
  harness.gradients = Write::kAccumulate;
  const auto both = outcome(harness);
  ASSERT_EQ(both.size(), first.size());
  for (size_t i = 1; i < both.size(); ++i) ASSERT_NEAR(both[i], first[i] + second[i], 1e-12) << i;
}

TEST_P(GptTest, LossesOfTrainingAndEvaluationAreTheSame) {
  Owned owned = on_cpu(small_config(0));
  ModuleHarness& harness = owned.harness;
  harness.forward_backward({}, {}, {}, {});
  const double of_backward = harness.mean_loss();
  harness.forward({}, {});
  EXPECT_EQ(harness.mean_loss(), of_backward);
  harness.training = false;
  harness.forward({}, {});
  EXPECT_EQ(harness.mean_loss(), of_backward);
}

TEST_P(GptTest, GivesLogitsWhenAsked) {
  const ModelConfig config = small_config(0);
  Owned owned = on_reference(config);
  ModuleHarness& harness = owned.harness;
  harness.forward({}, {});
  const double loss = harness.mean_loss();
  harness.microbatch.logits = harness.tensor(DType::kF64, {kN, config.vocab});
  harness.forward({}, {});
  EXPECT_EQ(harness.mean_loss(), loss);
  double sum = 0;
  for (int64_t n = 0; n < kN; ++n) {
    const int32_t target = harness.microbatch.targets.as<int32_t>()[n];
    if (target < 0) continue;
    double normaliser = 0;
    for (int64_t v = 0; v < config.vocab; ++v) {
      normaliser += std::exp(element(harness.microbatch.logits, n * config.vocab + v));
    }
    sum += std::log(normaliser) - element(harness.microbatch.logits, n * config.vocab + target);
  }
  EXPECT_NEAR(sum / (kN - 1), loss, 1e-12);

  // Sampling has no targets and needs no loss.
  const auto logits = elements(harness.microbatch.logits);
  harness.microbatch.targets = harness.microbatch.loss = {};
  harness.forward({}, {});
  EXPECT_EQ(elements(harness.microbatch.logits), logits);
}

TEST_P(GptTest, LaterTokensDoNotReachEarlierLogits) {
  const ModelConfig config = small_config(0);
  Owned owned = on_reference(config);
  ModuleHarness& harness = owned.harness;
  harness.microbatch.logits = harness.tensor(DType::kF64, {kN, config.vocab});
  harness.forward({}, {});
  const auto before = elements(harness.microbatch.logits);
  constexpr int64_t kChanged = 20;  // a position of sequence 0
  int32_t& token = harness.microbatch.tokens.as<int32_t>()[kChanged];
  token = (token + 1) % static_cast<int32_t>(config.vocab);
  harness.forward({}, {});
  const auto after = elements(harness.microbatch.logits);
  for (int64_t n = 0; n < kN; ++n) {
    const auto row = static_cast<size_t>(n * config.vocab);
    const bool same = std::equal(
        before.begin() + static_cast<std::ptrdiff_t>(row),
        before.begin() + static_cast<std::ptrdiff_t>(row + static_cast<size_t>(config.vocab)),
        after.begin() + static_cast<std::ptrdiff_t>(row));
    EXPECT_EQ(same, n < kChanged || n >= kT) << "row " << n;
  }
}

// Records the hooks' calls as an engine would see them.
class Recorder : public UnitHooks {
 public:
  void before_forward(Module& unit) override { events.push_back("+forward " + unit.name()); }
  void after_forward(Module& unit) override { events.push_back("-forward " + unit.name()); }
  void before_backward(Module& unit) override { events.push_back("+backward " + unit.name()); }
  void after_backward(Module& unit) override { events.push_back("-backward " + unit.name()); }
  std::vector<std::string> events;
};

TEST_P(GptTest, UnitsCallTheirHooksInOrder) {
  ModelConfig config = small_config(0);
  config.layers = 2;
  Owned owned = on_reference(config);
  Recorder recorder;
  owned.harness.hooks = &recorder;
  owned.harness.forward_backward({}, {}, {}, {});
  std::vector<std::string> expected;
  const std::vector<std::string> units = {"embedding", "blocks.0", "blocks.1", "head"};
  for (const auto& unit : units) {
    expected.push_back("+forward " + unit);
    expected.push_back("-forward " + unit);
  }
  for (auto unit = units.rbegin(); unit != units.rend(); ++unit) {
    expected.push_back("+backward " + *unit);
    expected.push_back("-backward " + *unit);
  }
  EXPECT_EQ(recorder.events, expected);
}

TEST_P(GptTest, UsesCoverEveryGradientSlotOnce) {
  Owned owned = on_reference(small_config(0));
  std::vector<std::pair<std::string, int>> expected, actual;
  for (const auto& parameter : owned.harness.parameters().all()) {
    for (int slot = 0; slot < parameter->spec().num_gradient_slots; ++slot) {
      expected.emplace_back(parameter->name(), slot);
    }
  }
  for (const ParameterUse& use : owned.harness.module().uses()) {
    actual.emplace_back(use.parameter->name(), use.slot);
  }
  std::sort(expected.begin(), expected.end());
  std::sort(actual.begin(), actual.end());
  EXPECT_EQ(actual, expected);
}

// Two stages of a pipeline, each with its own part of the parameters, compute the same as the whole
// model.
TEST_P(GptTest, StagesMakeUpTheWholeModel) {
  const ModelConfig config = small_config(0.1);
  Owned whole = on_cpu(config);
  whole.harness.forward_backward({}, {}, {}, {});

  const auto stage = [&](int64_t begin, int64_t end, const std::vector<std::string>& prefixes) {
    std::vector<ParameterSpec> specs;
    for (const ParameterSpec& spec : describe_parameters(config)) {
      for (const auto& prefix : prefixes) {
        if (spec.name.starts_with(prefix)) specs.push_back(spec);
      }
    }
    auto harness = std::make_unique<ModuleHarness>(
        *whole.device, *whole.kernels, specs,
        [&](ParameterTable& parameters) {
          return create_gpt_stage(config, parameters, begin, end).value();
        },
        kB, kT);
    harness->randomize(kSeed, 0.1);
    harness->microbatch = whole.harness.microbatch;
    return harness;
  };
  const auto first = stage(0, 2, {"embedding.", "blocks.0."});
  const auto second = stage(2, 4, {"blocks.1.", "blocks.2."});
  const auto third = stage(4, 5, {"norm.", config.tied ? "embedding.token." : "head."});
  const Shape shape{kN, config.hidden};
  const Tensor between1 = first->tensor(DType::kF32, shape),
               between2 = first->tensor(DType::kF32, shape);
  const Tensor gradient1 = first->tensor(DType::kF32, shape),
               gradient2 = first->tensor(DType::kF32, shape);
  first->forward({}, between1);
  second->forward(between1, between2);
  third->forward_backward(between2, {}, {}, gradient2);
  second->forward_backward(between1, between2, gradient2, gradient1);
  first->forward_backward({}, between1, gradient1, {});

  for (const auto* part : {first.get(), second.get(), third.get()}) {
    for (const ParameterUse& use : const_cast<ModuleHarness*>(part)->module().uses()) {
      EXPECT_EQ(elements(use.parameter->gradient(use.slot)),
                elements(whole.harness.parameters().at(use.parameter->name()).gradient(use.slot)))
          << use.parameter->name();
    }
  }
}

TEST_P(GptTest, RefusesAnIncompleteConfiguration) {
  ModelConfig config = small_config(0);
  ParameterTable table(describe_parameters(config));
  config.ffn = 0;
  const auto result = create_gpt(config, table);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.status().code(), Code::kBadConfig);
}

TEST_P(GptTest, UnitsUseWhatTheirDescriptionSays) {
  const ModelConfig config = small_config(0);
  ParameterTable table(describe_parameters(config));
  const std::vector<UnitSpec> units = describe_units(config);
  ASSERT_EQ(static_cast<int64_t>(units.size()), num_units(config));
  for (int64_t i = 0; i < num_units(config); ++i) {
    const auto stage = create_gpt_stage(config, table, i, i + 1).value();
    std::vector<UseSpec> uses;
    for (const ParameterUse& use : stage->uses()) uses.push_back({use.parameter->name(), use.slot});
    EXPECT_EQ(uses, units[static_cast<size_t>(i)].uses) << units[static_cast<size_t>(i)].name;
  }
}

INSTANTIATE_TEST_SUITE_P(, GptTest, testing::Values("gpt2", "llama"),
                         [](const auto& tested) { return tested.param; });

}  // namespace
}  // namespace leasehold
