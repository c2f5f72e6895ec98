// One model under every layout: data, pipeline, chunks, ZeRO and recomputation change nothing, not
// one bit; the tensor degree is part of the arithmetic, and changes rounding alone.
#include <gtest/gtest.h>

#include "tests/runtime/train/layout_case.h"
#include "tests/support/temporary_directory.h"

namespace leasehold {
namespace {

class LayoutsTest : public testing::TestWithParam<LayoutCase> {
 protected:
  LayoutsTest() : tokens_(directory_ / "train.bin") { write_random_tokens(tokens_, 700, 60, 5); }
  LayoutTrace train(const SmallJob& job, int ranks, int64_t steps = 4,
                    const ThreadWorldOptions& world = {}) const {
    return train_layout(job, tokens_, ranks, steps, world);
  }

  TemporaryDirectory directory_;
  std::string tokens_;
};

TEST_P(LayoutsTest, DoesNotChangeABit) {
  const LayoutCase& layout = GetParam();
  const LayoutTrace one = train(job_of(layout.plain()), layout.tensor);
  EXPECT_EQ(train(job_of(layout), layout.num_ranks()), one);
}

class AsynchronousLayoutsTest : public LayoutsTest {};

TEST_P(AsynchronousLayoutsTest, DoesNotChangeABit) {
  const LayoutCase& layout = GetParam();
  const LayoutTrace one = train(job_of(layout.plain()), layout.tensor);
  SmallJob job = job_of(layout);
  job.device.asynchronous = true;
  job.device.delay_seed = 3;
  EXPECT_EQ(train(job, layout.num_ranks(), 4, {.delay_seed = 3}), one);
}

TEST_F(LayoutsTest, TheTensorDegreeChangesRoundingAlone) {
  for (const bool is_llama : {false, true}) {
    const LayoutTrace one = train(job_of({.is_llama = is_llama}), 1, 20);
    for (const int tensor : {2, 4}) {
      const LayoutCase layout{.data = 2, .zero = 1, .tensor = tensor, .is_llama = is_llama};
      const LayoutTrace cut = train(job_of(layout), layout.num_ranks(), 20);
      for (size_t step = 0; step < 20; ++step) {
        EXPECT_NEAR(cut.losses[step] / one.losses[step], 1, 1e-5) << tensor << " step " << step;
        EXPECT_NEAR(cut.norms[step] / one.norms[step], 1, 1e-4) << tensor << " step " << step;
      }
      EXPECT_FALSE(cut == one) << "then this test compares nothing";
    }
  }
}

TEST_F(LayoutsTest, Bf16ComputesOtherBitsThanFp32) {
  EXPECT_FALSE(train(job_of({.precision = DType::kBf16}), 1) == train(job_of({}), 1));
}

constexpr auto kGpipe = PipelineSchedule::kGpipe;

std::vector<LayoutCase> table() {
  const LayoutCase plain[] = {
      {.data = 2, .zero = 2},
      {.data = 2, .zero = 3},
      {.data = 4, .zero = 3},
      {.data = 3, .zero = 2},
      {.data = 3, .zero = 3, .microbatches = 7},
      {.data = 8, .zero = 2},
      {.pipeline = 2},
      {.pipeline = 4},
      {.pipeline = 2, .schedule = kGpipe},
      {.pipeline = 4, .schedule = kGpipe, .microbatches = 3},
      {.pipeline = 2, .chunks = 2},
      {.pipeline = 2, .chunks = 2, .microbatches = 5},
      {.data = 2, .pipeline = 2, .zero = 1},
      {.data = 3, .pipeline = 2, .zero = 1},
      {.data = 2, .pipeline = 4, .zero = 1},
      {.data = 2, .pipeline = 2, .zero = 2},
      {.data = 2, .pipeline = 2, .zero = 3},
      {.data = 2, .pipeline = 2, .chunks = 2, .zero = 3},
      {.data = 3, .pipeline = 2, .chunks = 2, .zero = 2, .microbatches = 7},
      {.data = 4, .pipeline = 2, .chunks = 2, .zero = 1},
      {.data = 2, .zero = 3, .recompute = Recompute::kBlock},
      {.pipeline = 2, .recompute = Recompute::kAttention},
      {.data = 2, .pipeline = 2, .zero = 1, .recompute = Recompute::kBlock},
      {.data = 2, .tensor = 2},
      {.pipeline = 2, .tensor = 2},
      {.data = 2, .zero = 3, .tensor = 2},
      {.data = 2, .pipeline = 2, .zero = 2, .tensor = 2},
      {.pipeline = 2, .chunks = 2, .tensor = 4, .recompute = Recompute::kBlock}};
  std::vector<LayoutCase> both;
  for (const bool is_llama : {false, true}) {
    for (LayoutCase layout : plain) {
      layout.is_llama = is_llama;
      both.push_back(layout);
    }
  }
  return both;
}

// In bf16 what travels between ranks and what is sharded differ from fp32: weights, messages
// between stages, sums over tensor ranks.
std::vector<LayoutCase> bf16_table() {
  std::vector<LayoutCase> table = {
      {.data = 2},
      {.data = 3, .zero = 1, .is_llama = true},
      {.data = 3, .zero = 2, .microbatches = 7},
      {.data = 4, .zero = 3, .is_llama = true},
      {.pipeline = 4, .schedule = kGpipe, .microbatches = 3},
      {.data = 2, .pipeline = 2, .chunks = 2, .zero = 3, .recompute = Recompute::kAttention},
      {.data = 2, .zero = 3, .recompute = Recompute::kBlock, .is_llama = true},
      {.data = 2, .pipeline = 2, .zero = 2, .tensor = 2},
      {.data = 2, .zero = 3, .tensor = 4, .is_llama = true}};
  for (LayoutCase& layout : table) layout.precision = DType::kBf16;
  return table;
}

// One of each kind.
std::vector<LayoutCase> asynchronous_table() {
  return {{.data = 4, .zero = 3},
          {.data = 3, .zero = 2, .microbatches = 7},
          {.pipeline = 4},
          {.pipeline = 4, .schedule = kGpipe, .microbatches = 3},
          {.pipeline = 2, .chunks = 2, .microbatches = 5},
          {.data = 2, .pipeline = 2, .chunks = 2, .zero = 3, .is_llama = true},
          {.data = 2, .pipeline = 2, .zero = 2, .tensor = 2, .recompute = Recompute::kBlock},
          {.data = 2, .pipeline = 2, .zero = 3, .precision = DType::kBf16}};
}

INSTANTIATE_TEST_SUITE_P(Table, AsynchronousLayoutsTest, testing::ValuesIn(asynchronous_table()),
                         [](const auto& layout) { return name_of(layout.param); });

INSTANTIATE_TEST_SUITE_P(Table, LayoutsTest, testing::ValuesIn(table()),
                         [](const auto& layout) { return name_of(layout.param); });

INSTANTIATE_TEST_SUITE_P(Bf16, LayoutsTest, testing::ValuesIn(bf16_table()),
                         [](const auto& layout) { return name_of(layout.param); });

}  // namespace
}  // namespace leasehold
