// One model under every layout: data, pipeline, chunks, ZeRO and recomputation change nothing, not
// one bit; the tensor degree is part of the arithmetic, and changes rounding alone.
#include <gtest/gtest.h>

#include "collectives/threads.h"
#include "runtime/base/files.h"
#include "tests/support/small_job.h"
#include "tests/support/temporary_directory.h"

namespace leasehold {
namespace {

struct Layout {
  int data = 1;
  int pipeline = 1;
  int chunks = 1;
  int zero = 0;
  PipelineSchedule schedule = PipelineSchedule::kOneForwardOneBackward;
  int64_t microbatches = 8;
  int tensor = 1;
  Recompute recompute = Recompute::kNone;
  bool is_llama = false;
  DType precision = DType::kF32;

  int num_ranks() const { return data * pipeline * tensor; }
  // One rank, or one group of tensor ranks.
  Layout plain() const {
    return {.microbatches = microbatches,
            .tensor = tensor,
            .is_llama = is_llama,
            .precision = precision};
  }
};

const char* name_of(Recompute recompute) {
  return recompute == Recompute::kNone        ? ""
         : recompute == Recompute::kAttention ? "Attention"
                                              : "Block";
}

std::string name_of(const Layout& l) {
  return fmt::format("{}{}D{}P{}T{}C{}Z{}{}{}M{}", l.is_llama ? "Llama" : "Gpt2",
                     l.precision == DType::kF32 ? "" : dtype_name(l.precision), l.data, l.pipeline,
                     l.tensor, l.chunks, l.zero,
                     l.schedule == PipelineSchedule::kGpipe ? "Gpipe" : "", name_of(l.recompute),
                     l.microbatches);
}

struct LayoutTrace {
  std::string state;
  std::string validation;
  std::vector<double> losses, norms;
  bool operator==(const LayoutTrace&) const = default;
};

class LayoutsTest : public testing::TestWithParam<Layout> {
 protected:
  LayoutsTest() : tokens_(directory_ / "train.bin") { write_random_tokens(tokens_, 700, 60, 5); }

  static SmallJob job_of(const Layout& layout) {
    SmallJob job;
    ModelConfig model = job.model;
    model.layers = 4;
    model.vocab = 60;
    if (layout.is_llama) {
      model = {.family = "llama",
               .layers = 4,
               .hidden = 32,
               .heads = 8,
               .kv_heads = 4,
               .ffn = 48,
               .sequence = 12,
               .vocab = 60,
               .dropout = 0.1};
    }
    job.model = complete_model_config(model).value();
    job.options.recompute = layout.recompute;
    job.tensor = layout.tensor;
    job.precision = layout.precision;
    job.options.batch = {.num_microbatches = layout.microbatches, .num_lanes = layout.microbatches};
    job.options.zero_stage = layout.zero;
    job.options.schedule = layout.schedule;
    job.options.num_chunks = layout.chunks;
    job.pipeline = layout.pipeline;
    return job;
  }

  LayoutTrace train(const SmallJob& job, int ranks, int64_t steps = 4,
                    const ThreadWorldOptions& world = {}) {
    LayoutTrace trace;
    run_ranks(ranks, world, [&](Communicator& communicator) {
      SmallRank rank(job, tokens_, communicator);
      LayoutTrace own;
      for (int64_t step = 0; step < steps; ++step) {
        const StepResult result = rank.engine().run_step(step, rank.loader(), {}).value();
        own.losses.push_back(result.loss);
        own.norms.push_back(result.gradient_norm);
      }
      const Evaluation evaluation =
          rank.engine().evaluate(rank.loader(), [] { return false; }).value();
      own.validation = fmt::format("{:.17g}", evaluation.mean_loss);
      own.state = gathered_state_digest(rank.engine(), communicator, rank.stream());
      if (communicator.rank() == 0) trace = own;
    });
    return trace;
  }

  TemporaryDirectory directory_;
  std::string tokens_;
};

TEST_P(LayoutsTest, DoesNotChangeABit) {
  const Layout& layout = GetParam();
  const LayoutTrace one = train(job_of(layout.plain()), layout.tensor);
  EXPECT_EQ(train(job_of(layout), layout.num_ranks()), one);
}

class AsynchronousLayoutsTest : public LayoutsTest {};

TEST_P(AsynchronousLayoutsTest, DoesNotChangeABit) {
  const Layout& layout = GetParam();
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
      const Layout layout{.data = 2, .zero = 1, .tensor = tensor, .is_llama = is_llama};
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

std::vector<Layout> table() {
  const Layout plain[] = {
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
  std::vector<Layout> both;
  for (const bool is_llama : {false, true}) {
    for (Layout layout : plain) {
      layout.is_llama = is_llama;
      both.push_back(layout);
    }
  }
  return both;
}

// In bf16 what travels between ranks and what is sharded differ from fp32: weights, messages
// between stages, sums over tensor ranks.
std::vector<Layout> bf16_table() {
  std::vector<Layout> table = {
      {.data = 2},
      {.data = 3, .zero = 1, .is_llama = true},
      {.data = 3, .zero = 2, .microbatches = 7},
      {.data = 4, .zero = 3, .is_llama = true},
      {.pipeline = 4, .schedule = kGpipe, .microbatches = 3},
      {.data = 2, .pipeline = 2, .chunks = 2, .zero = 3, .recompute = Recompute::kAttention},
      {.data = 2, .zero = 3, .recompute = Recompute::kBlock, .is_llama = true},
      {.data = 2, .pipeline = 2, .zero = 2, .tensor = 2},
      {.data = 2, .zero = 3, .tensor = 4, .is_llama = true}};
  for (Layout& layout : table) layout.precision = DType::kBf16;
  return table;
}

// One of each kind.
std::vector<Layout> asynchronous_table() {
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
