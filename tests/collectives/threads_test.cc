// Tests injected failures: ranks that die, freeze, lag, send a wrong bit or issue another operation
// than the others.
#include "collectives/threads.h"

#include <atomic>
#include <chrono>
#include <gtest/gtest.h>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

#include "runtime/device/cpu_stream.h"

namespace leasehold {

namespace {

constexpr double kThreadsLimitS = 30;
using Kind = ThreadFault::Kind;

Tensor view(std::vector<float>& values) {
  return Tensor(values.data(), DType::kF32, {static_cast<int64_t>(values.size())});
}

// The status that each rank got.
class Outcomes {
 public:
  explicit Outcomes(int size) : statuses_(static_cast<size_t>(size)) {}
  void set(int rank, const Status& status) {
    std::lock_guard lock(mutex_);
    statuses_[static_cast<size_t>(rank)] = status;
  }
  const Status& of(int rank) const { return statuses_[static_cast<size_t>(rank)]; }

 private:
  std::mutex mutex_;
  std::vector<Status> statuses_;
};

Status all_reduce(Communicator& group, Stream& stream, int64_t n = 4) {
  std::vector<float> data(static_cast<size_t>(n), 1);
  return group.all_reduce(view(data), ReduceOp::kSum, stream)
      .wait(Deadline::after_s(kThreadsLimitS));
}

void expect_mentions(const Status& status, const std::vector<std::string>& words) {
  for (const std::string& word : words) {
    EXPECT_NE(status.message().find(word), std::string::npos)
        << "'" << word << "' in: " << status.message();
  }
}

double elapsed_s(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

TEST(ThreadsTest, AFrozenRankIsNamed) {
  Outcomes outcomes(3);
  const auto begin = std::chrono::steady_clock::now();
  run_ranks(3, {.timeout_s = 0.1, .faults = {{Kind::kFreeze, 1, 2}}}, [&](Communicator& world) {
    const auto stream = create_inline_stream("test", kThreadsLimitS);
    Status status;
    while (status.ok()) status = all_reduce(world, *stream);
    outcomes.set(world.rank(), status);
  });
  EXPECT_LT(elapsed_s(begin), 5);
  for (const int rank : {0, 2}) {
    EXPECT_EQ(outcomes.of(rank).code(), Code::kUnavailable);
    expect_mentions(outcomes.of(rank),
                    {"world", "all_reduce of 4 F32", "operation 2", "rank 1 does not answer"});
  }
  EXPECT_TRUE(outcomes.of(1).ok()) << "a frozen rank learns nothing";
}

TEST(ThreadsTest, ALaggardIsNamedWithWhatItDidLast) {
  Outcomes outcomes(2);
  run_ranks(2, {.timeout_s = 0.1}, [&](Communicator& world) {
    const auto stream = create_inline_stream("test", kThreadsLimitS);
    std::vector<float> data(3);
    ASSERT_TRUE(
        world.broadcast(view(data), 0, *stream).wait(Deadline::after_s(kThreadsLimitS)).ok());
    if (world.rank() == 1) std::this_thread::sleep_for(std::chrono::milliseconds(400));
    outcomes.set(world.rank(), all_reduce(world, *stream));
  });
  expect_mentions(outcomes.of(0),
                  {"rank 1 lags", "broadcast of 3 F32 from rank 0", "did not complete in 0.1 s"});
  // The late rank gets the same failure at once, without waiting for its turn.
  EXPECT_EQ(outcomes.of(1).message(), outcomes.of(0).message());
}

TEST(ThreadsTest, ATimeoutNeedsNobodyButTheStreamThatWaits) {
  Outcomes outcomes(2);
  run_ranks(2, {.timeout_s = 0.1}, [&](Communicator& world) {
    const auto communication = create_asynchronous_stream("communication", 0, kThreadsLimitS);
    const auto compute = create_asynchronous_stream("compute", 0, kThreadsLimitS);
    if (world.rank() == 1) return;
    std::vector<float> data(3);
    world.receive(view(data), 1, *communication).then(*compute);
    outcomes.set(0, compute->synchronize(Deadline::after_s(kThreadsLimitS)));
  });
  expect_mentions(outcomes.of(0), {"receive of 3 F32 from rank 1", "rank 1"});
}

TEST(ThreadsTest, ADeadRankFailsItsGroupsAtOnceAndNoOther) {
  Outcomes world_outcomes(4), pair_outcomes(4);
  const auto begin = std::chrono::steady_clock::now();
  // Calls of rank 3: the split is 0, the pair's all_reduce 1, the world's 2.
  run_ranks(4, {.timeout_s = 60, .faults = {{Kind::kDie, 3, 2}}}, [&](Communicator& world) {
    const auto stream = create_inline_stream("test", kThreadsLimitS);
    auto pair = world.split(world.rank() / 2, world.rank(), "pair");
    ASSERT_TRUE(pair.ok());
    ASSERT_TRUE(all_reduce(**pair, *stream).ok());
    world_outcomes.set(world.rank(), all_reduce(world, *stream));
    // Rank 2 has lost its partner; ranks 0 and 1 have not.
    pair_outcomes.set(world.rank(), all_reduce(**pair, *stream));
  });
  EXPECT_LT(elapsed_s(begin), 20);
  for (int rank = 0; rank < 3; ++rank)
    expect_mentions(world_outcomes.of(rank), {"rank 3 of the world died", "all_reduce"});
  EXPECT_TRUE(pair_outcomes.of(0).ok()) << pair_outcomes.of(0).message();
  EXPECT_TRUE(pair_outcomes.of(1).ok()) << pair_outcomes.of(1).message();
  EXPECT_FALSE(pair_outcomes.of(2).ok());
}

TEST(ThreadsTest, ABitIsFlippedWhereTheFaultSaysAndNowhereElse) {
  std::atomic<int> wrong{0}, wrong_at{-1};
  run_ranks(3, {.faults = {{Kind::kFlipBit, 2, 1}}}, [&](Communicator& world) {
    const auto stream = create_inline_stream("test", kThreadsLimitS);
    for (int i = 0; i < 3; ++i) {
      std::vector<float> data(8, 1);
      ASSERT_TRUE(world.all_reduce(view(data), ReduceOp::kSum, *stream)
                      .wait(Deadline::after_s(kThreadsLimitS))
                      .ok());
      for (const float value : data) {
        if (value == 3) continue;
        ++wrong;
        wrong_at = world.rank() * 10 + i;
      }
    }
  });
  EXPECT_EQ(wrong, 1);
  EXPECT_EQ(wrong_at, 21);
}

TEST(ThreadsTest, RanksThatDisagreeAreNamed) {
  const auto disagree =
      [](const std::function<Work(Communicator&, Stream&, std::vector<float>&)>& issue) {
        Outcomes outcomes(2);
        run_ranks(2, {.timeout_s = 30}, [&](Communicator& world) {
          const auto stream = create_inline_stream("test", kThreadsLimitS);
          std::vector<float> data(8);
          outcomes.set(world.rank(),
                       issue(world, *stream, data).wait(Deadline::after_s(kThreadsLimitS)));
        });
        EXPECT_EQ(outcomes.of(0).code(), Code::kInternal) << outcomes.of(0).message();
        EXPECT_EQ(outcomes.of(0).message(), outcomes.of(1).message());
        return outcomes.of(0);
      };
  expect_mentions(disagree([](Communicator& world, Stream& stream, std::vector<float>& data) {
                    if (world.rank() == 0) return world.broadcast(view(data), 0, stream);
                    return world.all_reduce(view(data), ReduceOp::kSum, stream);
                  }),
                  {"broadcast of 8 F32 from rank 0 on rank 0", "all_reduce of 8 F32 on rank 1"});
  expect_mentions(disagree([](Communicator& world, Stream& stream, std::vector<float>& data) {
                    return world.all_reduce(view(data).flat(0, 4 + world.rank()), ReduceOp::kSum,
                                            stream);
                  }),
                  {"all_reduce of 4 F32 on rank 0", "all_reduce of 5 F32 on rank 1"});
  expect_mentions(disagree([](Communicator& world, Stream& stream, std::vector<float>& data) {
                    if (world.rank() == 0) return world.send(view(data).flat(0, 5), 1, stream);
                    return world.receive(view(data), 0, stream);
                  }),
                  {"send of 5 F32 to rank 1", "receive of 8 F32 from rank 0"});
  expect_mentions(disagree([](Communicator& world, Stream& stream, std::vector<float>& data) {
                    std::vector<Tensor> send(2), receive(2);
                    send[1 - static_cast<size_t>(world.rank())] = view(data).flat(0, 3);
                    receive[1 - static_cast<size_t>(world.rank())] =
                        view(data).flat(4, world.rank() == 0 ? 3 : 2);
                    return world.all_to_all(send, receive, stream);
                  }),
                  {"all_to_all", "rank 0 sends 12 bytes to rank 1, which expects 8"});
}

TEST(ThreadsTest, AStreamThatFailedFailsTheOperationAndItsPeers) {
  Outcomes outcomes(2);
  run_ranks(2, {.timeout_s = 30}, [&](Communicator& world) {
    const auto stream = create_asynchronous_stream("compute", 0, kThreadsLimitS);
    if (world.rank() == 1) {
      CpuStream::from(*stream).enqueue(
          [] { throw DeviceError(Status(Code::kBadData, "a bad kernel")); });
    }
    outcomes.set(world.rank(), all_reduce(world, *stream));
  });
  for (const int rank : {0, 1}) {
    EXPECT_EQ(outcomes.of(rank).code(), Code::kBadData);
    expect_mentions(outcomes.of(rank), {"rank 1", "a bad kernel"});
  }
}

TEST(ThreadsTest, TheFirstExceptionIsRethrownAndNobodyWaitsForTheRankThatThrew) {
  const auto begin = std::chrono::steady_clock::now();
  Outcomes outcomes(3);
  EXPECT_THROW(run_ranks(3, {.timeout_s = 60},
                         [&](Communicator& world) {
                           const auto stream = create_inline_stream("test", kThreadsLimitS);
                           if (world.rank() == 1) throw std::out_of_range("thrown by the test");
                           outcomes.set(world.rank(), all_reduce(world, *stream));
                         }),
               std::out_of_range);
  EXPECT_LT(elapsed_s(begin), 20);
  expect_mentions(outcomes.of(0), {"rank 1", "thrown by the test"});
}

// With delays, reading the data without waiting must show a wrong value. Otherwise the delays would
// prove nothing.
TEST(ThreadsTest, DelaysExposeAMissingWait) {
  std::atomic<int> early{0};
  run_ranks(2, {.delay_seed = 11}, [&](Communicator& world) {
    const auto stream = create_inline_stream("test", kThreadsLimitS);
    for (int i = 0; i < 40; ++i) {
      std::vector<float> data = {1};
      const Work work = world.all_reduce(view(data), ReduceOp::kSum, *stream);
      if (!work.ready()) ++early;
      EXPECT_TRUE(work.wait(Deadline::after_s(kThreadsLimitS)).ok());
      EXPECT_EQ(data[0], 2);
    }
  });
  EXPECT_GT(early, 20);
}

}  // namespace

}  // namespace leasehold
