#include "models/head.h"

#include <gtest/gtest.h>

#include "models/describe.h"
#include "models/head_rows.h"
#include "runtime/device/cpu_device.h"
#include "tests/support/module_harness.h"

namespace leasehold {
namespace {

TEST(HeadTest, ChunksAreFewEqualAndSmallEnough) {
  EXPECT_EQ(head_rows(256, 50257), 256);              // GPT-2, 4 x 64: one chunk
  EXPECT_EQ(head_rows(2048, 50257), 2048);            // 4 x 512: one
  EXPECT_EQ(head_rows(2100, 50257), 1152);            // two, of whole 128 rows
  EXPECT_EQ(head_rows(8192, 128256), 2048);           // Llama 3: within 2^28 logits
  EXPECT_EQ(head_rows(8192, 256000), 1024);           // Gemma: 1048 would fit
  EXPECT_EQ(head_rows(8192, 16032), 4096);            // small vocabularies: within 2^26
  EXPECT_EQ(head_rows(300000, 256), 150016);          // two, not one and a rest
  EXPECT_EQ(head_rows(1000, int64_t{1} << 30), 128);  // never less
  EXPECT_EQ(head_rows(5, int64_t{1} << 30), 5);
  for (const int64_t V : {100, 50257, 128256, 262144}) {
    for (const int64_t N : {1, 127, 129, 2048, 2049, 5000, 65536, 1000003}) {
      const int64_t rows = head_rows(N, V);
      EXPECT_TRUE(rows == N || rows % 128 == 0) << N << " " << V;
      EXPECT_TRUE(rows * V <= int64_t{1} << 26 || (rows <= 2048 && rows * V <= int64_t{1} << 28));
    }
  }
}

// They decide the bits of runs that earlier versions began.
TEST(HeadTest, EarlierChunksStayKnown) {
  EXPECT_EQ(earlier_head_rows(256, 50257), 256);
  EXPECT_EQ(earlier_head_rows(2048, 50257), 1024);
  EXPECT_EQ(earlier_head_rows(8192, 128256), 512);
}

// The logits of an odd vocabulary take the memory of the next multiple of 64: products and cross
// entropy on a GPU then read and write whole words of 16 bytes.
TEST(HeadTest, RowsOfLogitsBeginAtMultiplesOf64) {
  const auto device = CpuDevice::create({});
  const auto kernels = create_cpu_kernels(*device);
  const auto scratch_bytes = [&](int64_t V) {
    ModelConfig config;
    config.layers = 1;
    config.hidden = 16;
    config.heads = 2;
    config.sequence = 20;
    config.vocab = V;
    config = complete_model_config(config).value();
    std::vector<ParameterSpec> specs;
    for (const ParameterSpec& spec : describe_parameters(config)) {
      if (spec.name.starts_with("norm.") || spec.name == "embedding.token.weight")
        specs.push_back(spec);
    }
    const ModuleHarness harness(
        *device, *kernels, specs,
        [&](ParameterTable& parameters) {
          return std::make_unique<Head>(config, parameters, "head");
        },
        2, 20);
    return harness.scratch_bytes();
  };
  EXPECT_EQ(scratch_bytes(65), scratch_bytes(128));
  EXPECT_EQ(scratch_bytes(128) - scratch_bytes(64), 40 * 64 * 4);
}

// With fp32 kernels the losses of chunks are added in double, and their gradients in fp32.
TEST(HeadTest, ChunksAddUpOnCpuKernels) {
  constexpr int64_t kB = 2, kT = 20, kC = 16, kV = 33;
  ModelConfig config;
  config.layers = 1;
  config.hidden = kC;
  config.heads = 2;
  config.sequence = kT;
  config.vocab = kV;
  std::vector<ParameterSpec> specs;
  config = complete_model_config(config).value();
  for (const ParameterSpec& spec : describe_parameters(config)) {
    if (spec.name.starts_with("norm.") || spec.name == "embedding.token.weight")
      specs.push_back(spec);
  }
  const auto device = CpuDevice::create({});
  const auto kernels = create_cpu_kernels(*device);
  struct Outcome {
    double loss;
    std::vector<double> input_gradient, table_gradient;
  };
  const auto compute = [&](int64_t chunk_rows) {
    ModuleHarness harness(
        *device, *kernels, specs,
        [&](ParameterTable& parameters) {
          return std::make_unique<Head>(config, parameters, "head", chunk_rows);
        },
        kB, kT);
    harness.randomize(1, 0.3);
    harness.random_microbatch(kV, 2);
    const Tensor input = harness.random_tensor({kB * kT, kC}, 3);
    const Tensor input_gradient = harness.tensor(DType::kF32, {kB * kT, kC});
    harness.forward_backward(input, {}, {}, input_gradient);
    return Outcome{harness.mean_loss(), elements(input_gradient),
                   elements(harness.parameters().at("embedding.token.weight").gradient(1))};
  };
  const Outcome whole = compute(0);
  const Outcome chunks = compute(7);
  EXPECT_NEAR(chunks.loss, whole.loss, 1e-6);
  for (size_t i = 0; i < whole.input_gradient.size(); ++i) {
    ASSERT_NEAR(chunks.input_gradient[i], whole.input_gradient[i], 1e-7) << i;
  }
  double largest = 0;
  for (size_t i = 0; i < whole.table_gradient.size(); ++i) {
    ASSERT_NEAR(chunks.table_gradient[i], whole.table_gradient[i], 1e-7) << i;
    largest = std::max(largest, std::abs(whole.table_gradient[i]));
  }
  EXPECT_GT(largest, 1e-3);
}

}  // namespace
}  // namespace leasehold
