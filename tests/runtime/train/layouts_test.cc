// One model under every layout: data, pipeline, chunks and ZeRO change nothing, not one bit.
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
};

std::string in_words(const Layout& layout) {
  return fmt::format("data {} pipeline {} chunks {} ZeRO {}{}, {} microbatches", layout.data,
                     layout.pipeline, layout.chunks, layout.zero,
                     layout.schedule == PipelineSchedule::kGpipe ? " GPipe" : "",
                     layout.microbatches);
}

struct Trace {
  std::vector<std::string> lines;
  std::string state;
  std::string validation;
  bool operator==(const Trace&) const = default;
};

class LayoutsTest : public testing::TestWithParam<Layout> {
 protected:
  LayoutsTest() : tokens_(directory_ / "train.bin") { write_random_tokens(tokens_, 700, 61, 5); }

  static SmallJob job_of(const Layout& layout) {
    SmallJob job;
    job.model.layers = 4;
    job.options.batch = {.num_microbatches = layout.microbatches, .num_lanes = layout.microbatches};
    job.options.zero_stage = layout.zero;
    job.options.schedule = layout.schedule;
    job.options.num_chunks = layout.chunks;
    job.pipeline = layout.pipeline;
    return job;
  }

  Trace train(const SmallJob& job, int ranks, const ThreadWorldOptions& world = {}) {
    Trace trace;
    run_ranks(ranks, world, [&](Communicator& communicator) {
      SmallRank rank(job, tokens_, communicator);
      const auto lines = rank.run(0, 4);
      const Evaluation evaluation =
          rank.engine().evaluate(rank.loader(), [] { return false; }).value();
      const std::string state = gathered_state_digest(rank.engine(), communicator, rank.stream());
      if (communicator.rank() == 0)
        trace = {lines, state, fmt::format("{:.17g}", evaluation.mean_loss)};
    });
    return trace;
  }

  TemporaryDirectory directory_;
  std::string tokens_;
};

TEST_P(LayoutsTest, DoesNotChangeABit) {
  const Layout& layout = GetParam();
  const Trace one = train(job_of({.microbatches = layout.microbatches}), 1);
  EXPECT_EQ(train(job_of(layout), layout.data * layout.pipeline), one) << in_words(layout);
}

TEST_P(LayoutsTest, DoesNotChangeABitOnAsynchronousStreams) {
  const Layout& layout = GetParam();
  const Trace one = train(job_of({.microbatches = layout.microbatches}), 1);
  SmallJob job = job_of(layout);
  job.device.asynchronous = true;
  job.device.delay_seed = 3;
  EXPECT_EQ(train(job, layout.data * layout.pipeline, {.delay_seed = 3}), one) << in_words(layout);
}

constexpr auto kGpipe = PipelineSchedule::kGpipe;

std::string name_of(const testing::TestParamInfo<Layout>& parameter) {
  const Layout& l = parameter.param;
  return fmt::format("D{}P{}C{}Z{}{}M{}", l.data, l.pipeline, l.chunks, l.zero,
                     l.schedule == kGpipe ? "Gpipe" : "", l.microbatches);
}

INSTANTIATE_TEST_SUITE_P(
    Table, LayoutsTest,
    testing::Values(
        Layout{.data = 2, .zero = 2}, Layout{.data = 2, .zero = 3}, Layout{.data = 4, .zero = 3},
        Layout{.data = 3, .zero = 2}, Layout{.data = 3, .zero = 3, .microbatches = 7},
        Layout{.data = 8, .zero = 2}, Layout{.pipeline = 2}, Layout{.pipeline = 4},
        Layout{.pipeline = 2, .schedule = kGpipe},
        Layout{.pipeline = 4, .schedule = kGpipe, .microbatches = 3},
        Layout{.pipeline = 2, .chunks = 2}, Layout{.pipeline = 2, .chunks = 2, .microbatches = 5},
        Layout{.data = 2, .pipeline = 2, .zero = 1}, Layout{.data = 3, .pipeline = 2, .zero = 1},
        Layout{.data = 2, .pipeline = 4, .zero = 1}, Layout{.data = 2, .pipeline = 2, .zero = 2},
        Layout{.data = 2, .pipeline = 2, .zero = 3},
        Layout{.data = 2, .pipeline = 2, .chunks = 2, .zero = 3},
        Layout{.data = 3, .pipeline = 2, .chunks = 2, .zero = 2, .microbatches = 7},
        Layout{.data = 4, .pipeline = 2, .chunks = 2, .zero = 1}),
    name_of);

}  // namespace
}  // namespace leasehold
