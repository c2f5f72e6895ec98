// Not one bit: the same job over any number of ranks, ZeRO stage, thread count and device mode.
#include <cmath>
#include <gtest/gtest.h>
#include <mutex>

#include "collectives/threads.h"
#include "models/gpt.h"
#include "runtime/base/files.h"
#include "tests/support/small_job.h"
#include "tests/support/temporary_directory.h"

namespace leasehold {
namespace {

struct Trace {
  std::vector<std::string> lines;
  std::string state;
  bool operator==(const Trace&) const = default;
};

class EngineTest : public testing::Test {
 protected:
  EngineTest() : tokens_(directory_ / "train.bin") { write_random_tokens(tokens_, 4000, 61, 5); }

  Trace train(const SmallJob& job, int ranks, int64_t steps, const ThreadWorldOptions& world = {}) {
    Trace trace;
    run_ranks(ranks, world, [&](Communicator& communicator) {
      SmallRank rank(job, tokens_, communicator);
      const auto lines = rank.run(0, steps);
      const std::string state = gathered_state_digest(rank.engine(), communicator, rank.stream());
      if (communicator.rank() == 0) trace = {lines, state};
    });
    return trace;
  }

  TemporaryDirectory directory_;
  std::string tokens_;
};

TEST_F(EngineTest, LearnsWhatItIsShown) {
  SmallJob job;
  job.model.dropout = 0;
  // Just the windows of one step, again and again, to be learned by heart.
  const std::string few = directory_ / "few.bin";
  write_random_tokens(few, 16 * 12 + 1, 61, 9);
  run_ranks(1, {}, [&](Communicator& world) {
    SmallRank rank(job, few, world);
    const double first = rank.engine().run_step(0, rank.loader(), {})->loss;
    EXPECT_NEAR(first, std::log(61.0), 0.2);  // nothing known yet: uniform
    double last = first;
    for (int64_t step = 1; step < 50; ++step) {
      last = rank.engine().run_step(step, rank.loader(), {})->loss;
    }
    EXPECT_LT(last, first - 0.5);
  });
}

TEST_F(EngineTest, LanesAreWhatDecidesTheBits) {
  SmallJob job;
  const Trace eight = train(job, 2, 3);
  // ((0 + 1) + 2) + 3 within a lane, where eight lanes have (0 + 1) + (2 + 3).
  job.options.batch.num_lanes = 2;
  EXPECT_FALSE(train(job, 2, 3) == eight)
      << "the comparisons of this file cannot see a changed order of sums";
}

TEST_F(EngineTest, NumberOfRanksDoesNotChangeABit) {
  for (const int64_t lanes : {8, 4}) {
    SmallJob job;
    job.options.batch.num_lanes = lanes;
    const Trace one = train(job, 1, 12);
    for (const int ranks : {2, 3, 4})
      EXPECT_EQ(train(job, ranks, 12), one) << ranks << " ranks, " << lanes << " lanes";
  }
}

TEST_F(EngineTest, OddNumbersOfMicrobatchesDoNotChangeABit) {
  SmallJob job;
  job.options.batch = {.num_microbatches = 7, .num_lanes = 7};
  const Trace one = train(job, 1, 6);
  for (const int ranks : {2, 3, 5, 7}) EXPECT_EQ(train(job, ranks, 6), one) << ranks << " ranks";
}

TEST_F(EngineTest, ZeroStageDoesNotChangeABit) {
  SmallJob job;
  const Trace one = train(job, 1, 6);
  job.options.zero_stage = 1;
  for (const int ranks : {1, 2, 3, 8}) EXPECT_EQ(train(job, ranks, 6), one) << ranks << " ranks";
}

TEST_F(EngineTest, ThreadsDoNotChangeABit) {
  SmallJob job;
  const Trace one = train(job, 2, 6);
  job.device.num_threads = 2;
  EXPECT_EQ(train(job, 2, 6), one);
}

TEST_F(EngineTest, AsynchronousStreamsDoNotChangeABit) {
  SmallJob job;
  const Trace one = train(job, 1, 6);
  job.device.asynchronous = true;
  for (const uint64_t seed : {1, 2, 3}) {
    job.device.delay_seed = seed;
    for (const int zero : {0, 1}) {
      job.options.zero_stage = zero;
      EXPECT_EQ(train(job, 3, 6, {.delay_seed = seed}), one) << "seed " << seed << " ZeRO " << zero;
    }
  }
}

TEST_F(EngineTest, FastReductionAgreesWithinRounding) {
  SmallJob job;
  job.options.zero_stage = 1;
  run_ranks(3, {}, [&](Communicator& world) {
    SmallRank canonical(job, tokens_, world);
    SmallJob fast_job = job;
    fast_job.options.reduction = Reduction::kFast;
    SmallRank fast(fast_job, tokens_, world);
    for (int64_t step = 0; step < 5; ++step) {
      const StepResult a = canonical.engine().run_step(step, canonical.loader(), {}).value();
      const StepResult b = fast.engine().run_step(step, fast.loader(), {}).value();
      EXPECT_NEAR(a.loss, b.loss, 1e-4);
      EXPECT_NEAR(a.gradient_norm, b.gradient_norm, 1e-3 * a.gradient_norm);
    }
  });
}

TEST_F(EngineTest, EvaluationHasTheSameBitsForEveryNumberOfRanks) {
  const SmallJob job;
  const auto evaluate = [&](int ranks) {
    double loss = 0;
    run_ranks(ranks, {}, [&](Communicator& world) {
      SmallRank rank(job, tokens_, world);
      const Evaluation evaluation =
          rank.engine().evaluate(rank.loader(), [] { return false; }).value();
      EXPECT_EQ(evaluation.num_targets, 333 * 12);
      if (world.rank() == 0) loss = evaluation.mean_loss;
    });
    return loss;
  };
  const double one = evaluate(1);
  EXPECT_NEAR(one, std::log(61.0), 0.2);
  for (const int ranks : {2, 3, 5}) EXPECT_EQ(evaluate(ranks), one);
}

TEST_F(EngineTest, EvaluationStopsWhenOneRankAsks) {
  run_ranks(3, {}, [&](Communicator& world) {
    SmallRank rank(SmallJob(), tokens_, world);
    const bool asks = world.rank() == 1;
    EXPECT_TRUE(rank.engine().evaluate(rank.loader(), [=] { return asks; })->interrupted);
  });
}

TEST_F(EngineTest, RanksAgreeToStop) {
  run_ranks(3, {}, [&](Communicator& world) {
    SmallRank rank(SmallJob(), tokens_, world);
    EXPECT_FALSE(rank.engine().run_step(0, rank.loader(), {})->stop_requested);
    EXPECT_TRUE(rank.engine()
                    .run_step(1, rank.loader(), {.stop_requested = world.rank() == 2})
                    ->stop_requested);
  });
}

TEST_F(EngineTest, MoreRanksThanLanesAreRefused) {
  SmallJob job;
  job.options.batch = {.num_microbatches = 4, .num_lanes = 2};
  run_ranks(3, {}, [&](Communicator& world) {
    try {
      SmallRank rank(job, tokens_, world);
      ADD_FAILURE() << "3 ranks took 2 lanes";
    } catch (const StatusError& caught) {
      EXPECT_EQ(caught.status().code(), Code::kBadConfig) << caught.what();
    }
  });
}

TEST_F(EngineTest, ATokenAboveTheVocabularyEndsTheStepOnEveryRankAndKeepsTheState) {
  // The bad token lies in the last window, which one rank alone reads at some step of the first
  // epoch.
  const std::string bad = directory_ / "bad.bin";
  write_random_tokens(bad, 16 * 12 + 1, 61, 6);
  auto content = read_file(posix_files(), bad).value();
  content[content.size() - 4] = static_cast<char>(200);
  throw_if_error(publish_file(posix_files(), bad, content, "test"));
  run_ranks(3, {}, [&](Communicator& world) {
    SmallRank rank(SmallJob(), bad, world);
    const std::string before = gathered_state_digest(rank.engine(), world, rank.stream());
    const auto result = rank.engine().run_step(0, rank.loader(), {});
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.status().code(), Code::kBadData);
    EXPECT_TRUE(rank.engine().failed_alike());
    EXPECT_NE(result.status().message().find("bad.bin"), std::string::npos)
        << result.status().message();
    EXPECT_EQ(gathered_state_digest(rank.engine(), world, rank.stream()), before);
  });
}

TEST_F(EngineTest, ALostRankEndsTheStepOnTheOthers) {
  const ThreadWorldOptions world{
      .timeout_s = 20, .faults = {{.kind = ThreadFault::Kind::kDie, .rank = 1, .operation = 12}}};
  int survivors = 0;
  std::mutex mutex;
  run_ranks(3, world, [&](Communicator& communicator) {
    try {
      SmallRank rank(SmallJob(), tokens_, communicator);
      for (int64_t step = 0; step < 5; ++step) {
        const auto result = rank.engine().run_step(step, rank.loader(), {});
        if (!result.ok()) throw StatusError(result.status());
      }
    } catch (const StatusError& caught) {
      EXPECT_EQ(caught.status().code(), Code::kUnavailable) << caught.what();
      std::lock_guard lock(mutex);
      ++survivors;
    }
  });
  EXPECT_EQ(survivors, 2);
}

TEST_F(EngineTest, ForecastIsWhatIsAllocated) {
  const SmallJob job;
  run_ranks(2, {}, [&](Communicator& world) {
    SmallRank rank(job, tokens_, world);
    int64_t total = 0;
    for (const ArenaSize& size : rank.engine().memory()) total += size.bytes;
    EXPECT_GT(total, 0);
    const auto device = CpuDevice::create(job.device);
    const auto kernels = create_cpu_kernels(*device);
    Mesh mesh = Mesh::create(world, {.data = 2}).value();
    const ModelSource source = gpt_source(job.model);
    const auto forecast = Engine::forecast(*device, *kernels, mesh, source, job.options).value();
    ASSERT_EQ(forecast.size(), rank.engine().memory().size());
    for (size_t i = 0; i < forecast.size(); ++i) {
      EXPECT_EQ(forecast[i].bytes, rank.engine().memory()[i].bytes) << forecast[i].name;
    }
  });
}

}  // namespace
}  // namespace leasehold
