#include "runtime/train/arithmetic_class.h"

#include <gtest/gtest.h>
#include <map>

#include "runtime/device/cpu_device.h"

namespace leasehold {
namespace {

std::map<std::string, uint64_t> probe(const ArithmeticProbe& sizes, int num_threads = 1,
                                      DType dtype = DType::kF32) {
  const auto device = CpuDevice::create({.num_threads = num_threads});
  const auto kernels = create_cpu_kernels(*device, dtype);
  std::map<std::string, uint64_t> digests;
  const auto probed = digest_arithmetic(*device, *kernels, sizes, 60).value();
  for (const OperationDigest& digest : probed)
    EXPECT_TRUE(digests.emplace(digest.operation, digest.digest).second) << digest.operation;
  return digests;
}

const ArithmeticProbe kGpt2 = {
    .hidden = 48, .ffn = 192, .heads = 4, .kv_heads = 4, .vocab = 100, .T = 40, .B = 2};
const ArithmeticProbe kLlama = {.hidden = 48,
                                .ffn = 100,
                                .heads = 4,
                                .kv_heads = 2,
                                .vocab = 100,
                                .T = 40,
                                .B = 2,
                                .rms_norm = true,
                                .gated_mlp = true,
                                .rotary = Rotary{}};

TEST(ArithmeticClassTest, ProbesTheOperationsOfTheModelAndNoOthers) {
  const auto gpt2 = probe(kGpt2), llama = probe(kLlama);
  for (const char* operation :
       {"rms_norm_forward", "rms_norm_backward", "swiglu_forward", "swiglu_backward",
        "rotary_forward", "rotary_backward", "gate_up.linear_forward"}) {
    EXPECT_TRUE(llama.contains(operation)) << operation;
    EXPECT_FALSE(gpt2.contains(operation)) << operation;
  }
  for (const char* operation : {"layer_norm_forward", "layer_norm_backward", "fc.linear_forward"}) {
    EXPECT_FALSE(llama.contains(operation)) << operation;
    EXPECT_TRUE(gpt2.contains(operation)) << operation;
  }
}

TEST(ArithmeticClassTest, ProbesWhatATensorRankComputes) {
  for (ArithmeticProbe sizes : {kGpt2, kLlama}) {
    const auto whole = probe(sizes);
    sizes.tensor = 2;
    const auto part = probe(sizes);
    EXPECT_TRUE(whole.contains("cross_entropy"));
    EXPECT_FALSE(part.contains("cross_entropy"));
    for (const char* operation : {"cross_entropy_statistics", "cross_entropy_from_statistics"}) {
      EXPECT_TRUE(part.contains(operation)) << operation;
      EXPECT_FALSE(whole.contains(operation)) << operation;
    }
    EXPECT_NE(part.at("qkv.linear_forward"), whole.at("qkv.linear_forward"));
    EXPECT_EQ(part, probe(sizes, 3));
  }
}

TEST(ArithmeticClassTest, DoesNotDependOnThreads) {
  EXPECT_EQ(probe(kGpt2), probe(kGpt2, 3));
  EXPECT_EQ(probe(kLlama), probe(kLlama, 3));
}

TEST(ArithmeticClassTest, ProbesTheSameOperationsInBf16AndFindsOtherBits) {
  for (ArithmeticProbe sizes : {kGpt2, kLlama}) {
    for (const int64_t tensor : {1, 2}) {
      sizes.tensor = tensor;
      const auto fp32 = probe(sizes), bf16 = probe(sizes, 1, DType::kBf16);
      ASSERT_EQ(bf16.size(), fp32.size());
      for (const auto& [operation, digest] : bf16) {
        // The optimizer's inputs are fp32 in either.
        const bool same = operation == "squared_norms" || operation == "initial_values";
        EXPECT_EQ(digest == fp32.at(operation), same) << operation;
      }
      EXPECT_EQ(bf16, probe(sizes, 3, DType::kBf16));
    }
  }
}

// Another frequency is another operation: what follows from it differs, and nothing else.
TEST(ArithmeticClassTest, SeesWhatAnOperationIsGiven) {
  const auto plain = probe(kLlama);
  ArithmeticProbe other = kLlama;
  other.rotary->theta = 500000;
  const auto turned = probe(other);
  EXPECT_NE(turned.at("rotary_forward"), plain.at("rotary_forward"));
  EXPECT_NE(turned.at("rotary_backward"), plain.at("rotary_backward"));
  EXPECT_EQ(turned.at("rms_norm_forward"), plain.at("rms_norm_forward"));
  other = kLlama;
  other.norm_eps = 0.01;
  EXPECT_NE(probe(other).at("rms_norm_forward"), plain.at("rms_norm_forward"));
}

}  // namespace
}  // namespace leasehold
