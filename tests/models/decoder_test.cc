// Tests that a text that grows token by token has the same logits as passes over all of it.
#include "models/decoder.h"

#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>

#include "models/gpt.h"
#include "runtime/device/cpu_device.h"
#include "tests/support/module_harness.h"
#include "tests/support/reference_kernels.h"

namespace leasehold {
namespace {

constexpr int64_t kText = 90;

ModelConfig small_model(const std::string& family) {
  ModelConfig config;
  config.family = family;
  config.layers = 2;
  config.hidden = 32;
  config.heads = 4;
  config.sequence = 96;
  config.vocab = 61;
  if (family == "llama") {
    config.kv_heads = 2;
    config.ffn = 56;
    config.rope_factor = 4;
    config.rope_original_sequence = 32;
  }
  return complete_model_config(config).value();
}

struct Compared {
  const char* kernels;
  DType dtype;
  double tolerance;  // relative to the largest logit
};

// A model, and the logits of a pass over a whole text.
class DecoderTest : public testing::TestWithParam<std::tuple<Compared, const char*>> {
 protected:
  DecoderTest()
      : config_(small_model(std::get<1>(GetParam()))),
        device_(CpuDevice::create({.num_threads = 2})),
        kernels_(compared().dtype == DType::kF64 ? create_reference_kernels()
                                                 : create_cpu_kernels(*device_, compared().dtype)),
        harness_(
            *device_, *kernels_, describe_parameters(config_),
            [&](ParameterTable& parameters) { return create_gpt(config_, parameters).value(); }, 1,
            kText) {
    harness_.randomize(5, 0.3);
    harness_.random_microbatch(config_.vocab, 6);
    harness_.microbatch.logits = harness_.tensor(kernels_->dtype(), {kText, config_.vocab});
    harness_.microbatch.loss = {};
    harness_.microbatch.targets = {};
    harness_.training = false;
    harness_.forward({}, {});
    whole_ = elements(harness_.microbatch.logits);
    const int32_t* tokens = harness_.microbatch.tokens.as<int32_t>();
    ids_.assign(tokens, tokens + kText);
    for (const double logit : whole_) largest_ = std::max(largest_, std::abs(logit));
  }
  static const Compared& compared() { return std::get<0>(GetParam()); }

  std::unique_ptr<Decoder> decoder(int64_t positions) {
    return Decoder::create(config_, harness_.module(), *kernels_, *device_, harness_.stream(),
                           positions)
        .value();
  }
  // Compares the logits at `position` with those of the whole pass.
  void expect_logits(std::span<const float> logits, int64_t position) {
    const double* expected = whole_.data() + position * config_.vocab;
    for (int64_t id = 0; id < config_.vocab; ++id) {
      ASSERT_NEAR(logits[static_cast<size_t>(id)], expected[id], compared().tolerance * largest_)
          << "position " << position << " id " << id;
    }
    if (compared().dtype == DType::kBf16) return;  // has near ties
    const auto likeliest = std::ranges::max_element(logits) - logits.begin();
    EXPECT_EQ(likeliest, std::max_element(expected, expected + config_.vocab) - expected);
  }

  ModelConfig config_;
  std::unique_ptr<CpuDevice> device_;
  std::unique_ptr<Kernels> kernels_;
  ModuleHarness harness_;
  std::vector<int32_t> ids_;
  std::vector<double> whole_;  // (kText, V)
  double largest_ = 0;
};

TEST_P(DecoderTest, HasTheLogitsOfTheWholeText) {
  const auto decoder = this->decoder(config_.sequence);
  const std::span<const int32_t> ids(ids_);
  // A prompt that is split into passes of 64, 8 and 1, then single tokens.
  expect_logits(decoder->append(ids.first(75)).value(), 74);
  EXPECT_EQ(decoder->length(), 75);
  for (int64_t t = 75; t < kText; ++t)
    expect_logits(decoder->append(ids.subspan(static_cast<size_t>(t), 1)).value(), t);
}

TEST_P(DecoderTest, OneTokenAtATimeFromTheFirst) {
  const auto decoder = this->decoder(kText);
  for (int64_t t = 0; t < kText; ++t)
    expect_logits(decoder->append({&ids_[static_cast<size_t>(t)], 1}).value(), t);
}

TEST_P(DecoderTest, AnotherTextAfterwardsIsNotMixedUp) {
  const auto decoder = this->decoder(kText);
  std::vector<int32_t> others(static_cast<size_t>(kText), 7);
  decoder->append(others).value();
  decoder->clear();
  EXPECT_EQ(decoder->length(), 0);
  expect_logits(decoder->append(std::span(ids_).first(9)).value(), 8);
}

INSTANTIATE_TEST_SUITE_P(, DecoderTest,
                         testing::Combine(testing::Values(Compared{"reference", DType::kF64, 1e-6},
                                                          Compared{"cpu", DType::kF32, 1e-5},
                                                          Compared{"bf16", DType::kBf16, 0.03}),
                                          testing::Values("gpt2", "llama")),
                         [](const auto& tested) {
                           return std::string(std::get<0>(tested.param).kernels) + "_" +
                                  std::get<1>(tested.param);
                         });

// Checks the size that a decoder reports before it allocates.
TEST(DecoderMemory, IsTwoRowsOfTheKvHeadsForEachLayerAndPosition) {
  const ModelConfig config = small_model("llama");
  EXPECT_EQ(Decoder::cache_bytes(config, 10, DType::kF32), 2 * 2 * 10 * 2 * 8 * 4);
  EXPECT_EQ(Decoder::cache_bytes(config, 10, DType::kBf16), 2 * 2 * 10 * 2 * 8 * 2);
}

TEST(DecoderBits, DoNotDependOnThreads) {
  std::vector<std::vector<float>> results;
  for (const int num_threads : {1, 2, 3}) {
    const ModelConfig config = small_model("llama");
    const auto device = CpuDevice::create({.num_threads = num_threads});
    const auto kernels = create_cpu_kernels(*device);
    ModuleHarness harness(
        *device, *kernels, describe_parameters(config),
        [&](ParameterTable& parameters) { return create_gpt(config, parameters).value(); }, 1, 8);
    harness.randomize(5, 0.3);
    const auto decoder = Decoder::create(config, harness.module(), *kernels, *device,
                                         harness.stream(), config.sequence)
                             .value();
    const std::vector<int32_t> ids = {5, 9, 60, 3, 3, 1, 0, 22, 17, 4, 8};
    const auto logits = decoder->append(ids).value();
    results.emplace_back(logits.begin(), logits.end());
  }
  EXPECT_EQ(results[1], results[0]);
  EXPECT_EQ(results[2], results[0]);
}

}  // namespace
}  // namespace leasehold
