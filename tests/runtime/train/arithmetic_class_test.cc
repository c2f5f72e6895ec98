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
  for (const char* operation : {"layer_norm_forward", "layer_norm_backward", "fc.linear_forward",
                                "projection.gelu_backward_input"}) {
    EXPECT_FALSE(llama.contains(operation)) << operation;
    EXPECT_TRUE(gpt2.contains(operation)) << operation;
  }
  for (const char* operation :
       {"qkv.linear_forward", "projection.linear_backward_input", "head.linear_backward_weight",
        "attention_forward", "attention_backward", "residual_add", "residual_norm",
        "embedding_forward", "embedding_backward", "cross_entropy", "add", "cast", "squared_norms",
        "adamw", "initial_values", "schedule"}) {
    EXPECT_TRUE(llama.contains(operation)) << operation;
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
    for (const char* operation :
         {"cross_entropy_statistics", "cross_entropy_from_statistics", "sum_parts"}) {
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
        // The optimizer's inputs are fp32 in either, and the host's values double.
        const bool same = operation == "squared_norms" || operation == "initial_values" ||
                          operation == "schedule" || operation == "add";
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
  // Dropout also adds what only it has.
  other = kLlama;
  other.dropout = 0.2;
  const auto dropped = probe(other);
  for (const char* operation : {"residual_add", "residual_norm", "embedding_forward"})
    EXPECT_NE(dropped.at(operation), plain.at(operation)) << operation;
  EXPECT_EQ(dropped.at("attention_forward"), plain.at("attention_forward"));
  EXPECT_NE(dropped.at("attention_dropout_forward"), dropped.at("attention_forward"));
  EXPECT_NE(dropped.at("attention_dropout_backward"), dropped.at("attention_backward"));
  EXPECT_FALSE(plain.contains("attention_dropout_forward"));
}

// A checkpoint of an older program names fewer operations: those must agree, in any order.
TEST(ArithmeticClassTest, ComparesWhatTheCheckpointNames) {
  const std::vector<OperationDigest> mine = {{"add", 1}, {"cast", 2}, {"sum_parts", 3}};
  EXPECT_TRUE(compare_arithmetic(mine, to_text(mine)).ok());
  EXPECT_TRUE(compare_arithmetic(mine, to_text({{"cast", 2}, {"add", 1}})).ok());
  const auto refused = [&](const std::vector<OperationDigest>& kept, const char* word) {
    const Status status = compare_arithmetic(mine, to_text(kept));
    EXPECT_EQ(status.code(), Code::kBadConfig);
    EXPECT_NE(status.message().find(word), std::string::npos) << status.message();
    EXPECT_NE(status.message().find("run.identity"), std::string::npos) << status.message();
  };
  refused({{"add", 1}, {"cast", 4}}, "other bits than the one that wrote the checkpoint in cast");
  refused({{"add", 1}, {"newer", 2}}, "also compares newer");
  refused({}, "does not say");
}

// Digests of a few rows do not show in which order thousands are added.
TEST(ArithmeticClassTest, RefusesCheckpointsOfKernelsThatAddedInAnotherOrder) {
  const std::vector<OperationDigest> mine = {{"add", 1}, {kOrderOfSums, 2}};
  EXPECT_TRUE(compare_arithmetic(mine, to_text(mine)).ok());
  for (const auto& kept : {std::vector<OperationDigest>{{"add", 1}},
                           std::vector<OperationDigest>{{"add", 1}, {kOrderOfSums, 1}}}) {
    const Status status = compare_arithmetic(mine, to_text(kept));
    EXPECT_EQ(status.code(), Code::kBadConfig);
    EXPECT_NE(status.message().find("order"), std::string::npos) << status.message();
  }
  EXPECT_FALSE(probe(kGpt2).contains(kOrderOfSums)) << "CPU kernels still add as they always did";
}

TEST(ArithmeticClassTest, SaysWhichLibrariesMakeTheDifference) {
  for (const auto& [operation, libraries] :
       std::map<std::string, std::string>{{"qkv.linear_forward", "BLAS libraries differ"},
                                          {"attention_forward", "BLAS libraries"},
                                          {"schedule", "C libraries"},
                                          {"initial_values", "C libraries"},
                                          {"rotary_backward", "C libraries"}}) {
    const Status status = compare_arithmetic({{operation, 1}}, to_text({{operation, 2}}));
    EXPECT_EQ(status.code(), Code::kBadConfig);
    EXPECT_NE(status.message().find(libraries), std::string::npos) << status.message();
  }
}

}  // namespace
}  // namespace leasehold
