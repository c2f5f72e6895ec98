#include "launch/plan/layer_time.h"

#include <gtest/gtest.h>

#include "launch/plan/recompute_share.h"

namespace leasehold {
namespace {

// Llama 3 8B, one H100 of two that share the sequence.
StepQuestion llama_8b() {
  StepQuestion question;
  question.model = {.layers = 32,
                    .hidden = 4096,
                    .heads = 32,
                    .kv_heads = 8,
                    .head_dim = 128,
                    .ffn = 14336,
                    .vocab = 128256,
                    .sequence = 8192,
                    .gated = true};
  question.context = 2;
  question.data = 4;
  question.microbatches = 32;
  return question;
}

class LayerTime : public testing::Test {
 protected:
  const Hardware h100_ = shipped_hardware("H100").value();
  const StepMethod method_;
};

TEST_F(LayerTime, WeightsOfALayer) {
  // 2 x 4096 x 4096 (query, output), 2 x 4096 x 1024 (key, value), 3 x 4096 x 14336.
  EXPECT_DOUBLE_EQ(llama_8b().model.layer_weights(), 218103808);
}

TEST_F(LayerTime, ProductsAreBelowTheirCeiling) {
  const StepQuestion question = llama_8b();
  const double operations =
      2 * question.model.layer_weights() * static_cast<double>(question.tokens());
  const ForwardBackward time = layer_products(question, h100_, method_);
  const double share = 3 * operations / time.total_s() / h100_.products[Precision::kBf16];
  EXPECT_GT(share, 0.6);
  EXPECT_LT(share, method_.product_share * 1.05);
}

TEST_F(LayerTime, AttentionGrowsWithTheSequence) {
  StepQuestion question = llama_8b();
  const double at_8k = layer_attention(question, h100_, method_).total_s();
  question.model.sequence *= 2;
  EXPECT_NEAR(layer_attention(question, h100_, method_).total_s() / at_8k, 4, 0.4);
}

TEST_F(LayerTime, UnfusedAttentionPassesOverScores) {
  StepQuestion question = llama_8b();
  const double fused = layer_attention(question, h100_, method_).total_s();
  question.software.attention = AttentionKernel::kUnfused;
  EXPECT_GT(layer_attention(question, h100_, method_).total_s(), 2 * fused);
}

TEST_F(LayerTime, NarrowFormatsPayForConversion) {
  StepQuestion question = llama_8b();
  const double in_bf16 = layer_memory_work(question, h100_, method_).total_s();
  question.precision = Precision::kFp8;
  EXPECT_GT(layer_memory_work(question, h100_, method_).total_s(), 1.2 * in_bf16);
}

TEST_F(LayerTime, RecomputesWhatDoesNotFit) {
  StepQuestion question = llama_8b();
  EXPECT_EQ(recompute_share_that_fits(question, h100_), 0);
  question.microbatch = 64;
  EXPECT_EQ(recompute_share_that_fits(question, h100_), 1);
  question.microbatch = 3;
  const double some = recompute_share_that_fits(question, h100_);
  EXPECT_GT(some, 0);
  EXPECT_LT(some, 1);
  EXPECT_EQ(recompute_share_that_fits(question, shipped_hardware("GB300").value()), 0);
}

}  // namespace
}  // namespace leasehold
