// Tests injected failures on emulated devices, with ranks as threads: ranks that lag, skip, hang,
// disagree, fail and leave.
#include <chrono>
#include <gtest/gtest.h>
#include <mutex>
#include <thread>

#include "collectives/nccl.h"
#include "collectives/threads.h"
#include "runtime/comm/host_exchange.h"
#include "runtime/device/cpu_stream.h"
#include "runtime/device/cuda_stream.h"
#include "tests/collectives/nccl_ranks.h"
#include "tests/emulated_gpu/emulation.h"
#include "tests/emulated_gpu/nccl_emulation.h"

namespace leasehold {

namespace {

constexpr double kFailuresLimitS = 30;

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

void sleep_for_s(double seconds) {
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
}

void expect_words(const Status& status, const std::vector<std::string>& words) {
  EXPECT_FALSE(status.ok());
  for (const std::string& word : words) {
    EXPECT_NE(status.message().find(word), std::string::npos)
        << "'" << word << "' in: " << status.message();
  }
}

// A rank's stream with some elements, and the status that it got.
class Actor {
 public:
  explicit Actor(NcclRank& rank)
      : rank_(rank),
        stream_(std::move(rank.device.create_stream("communication")).value()),
        memory_(
            std::move(rank.device.allocate(kElements * 4, MemoryKind::kDevice, "a test")).value()) {
  }

  Tensor data(int64_t n) const {
    return Tensor(memory_->data(), DType::kF32, {kElements}).flat(0, n);
  }
  Stream& stream() { return *stream_; }
  Work all_reduce(int64_t n = 4) {
    return rank_.world.all_reduce(data(n), ReduceOp::kSum, *stream_);
  }
  Status wait(const Work& work) { return work.wait(Deadline::after_s(kFailuresLimitS)); }

 private:
  static constexpr int64_t kElements = 1 << 18;
  NcclRank& rank_;
  std::unique_ptr<Stream> stream_;
  std::unique_ptr<Memory> memory_;
};

class NcclFailuresTest : public testing::Test {
 protected:
  void SetUp() override {
    emulation::inject_nccl("");
    begin_ = std::chrono::steady_clock::now();
  }
  // Checks that nothing of a failed group is left, and that nothing took long.
  void TearDown() override {
    emulation::inject_nccl("");
    const auto given = std::chrono::steady_clock::now();
    while (emulation::num_nccl_communicators() > 0 && seconds_since(given) < kFailuresLimitS)
      sleep_for_s(0.01);
    EXPECT_EQ(emulation::num_nccl_communicators(), 0);
    EXPECT_LT(seconds_since(begin_), kMostS);
    EXPECT_EQ(emulation::take_reports(), "");
  }
  // Keeps the status that a rank got, for checks after the ranks have ended.
  void tell(NcclRank& rank, const Status& status) {
    std::lock_guard lock(mutex_);
    told_[static_cast<size_t>(rank.world.rank())] = status;
  }
  const Status& told(size_t rank) const { return told_[rank]; }

 private:
  static constexpr double kMostS = 20;
  std::chrono::steady_clock::time_point begin_;
  std::mutex mutex_;
  std::array<Status, 4> told_;
};

TEST_F(NcclFailuresTest, ALaggardIsNamedWithWhatItDidLast) {
  run_nccl_ranks(3, 0.3, [&](NcclRank& rank) {
    Actor actor(rank);
    ASSERT_TRUE(actor.wait(rank.world.broadcast(actor.data(3), 0, actor.stream())).ok());
    ASSERT_TRUE(actor.wait(actor.all_reduce()).ok());
    if (rank.world.rank() == 1) sleep_for_s(1.5);
    tell(rank, actor.wait(actor.all_reduce(5)));
    EXPECT_EQ(rank.world.health().message(), told(rank.world.rank()).message());
    // Later operations fail at once and in the same way.
    EXPECT_EQ(actor.wait(actor.all_reduce()).message(), rank.world.health().message());
  });
  for (const size_t rank : {0, 2}) {
    EXPECT_EQ(told(rank).code(), Code::kUnavailable);
    expect_words(told(rank),
                 {"world: all_reduce of 5 F32 (operation 2 of rank", "did not complete in 0.3 s",
                  "rank 1 lags", "all_reduce of 4 F32, done"});
  }
  expect_words(told(1), {"rank 1 lags"});
}

// The other ranks' host threads are also elsewhere: nobody waits, and the watch thread notices.
TEST_F(NcclFailuresTest, ALateOperationFailsTheStreamThatWaitsForIt) {
  run_nccl_ranks(2, 0.3, [&](NcclRank& rank) {
    Actor actor(rank);
    ASSERT_TRUE(actor.wait(actor.all_reduce()).ok());
    if (rank.world.rank() == 1) return sleep_for_s(1);
    const auto compute = std::move(rank.device.create_stream("compute")).value();
    actor.all_reduce().then(*compute);
    tell(rank, compute->synchronize(Deadline::after_s(kFailuresLimitS)));
  });
  expect_words(told(0), {"all_reduce of 4 F32", "rank 1 lags"});
}

TEST_F(NcclFailuresTest, ACallThatNcclNeverSawEndsByTheDeadlineOnTheOthers) {
  emulation::inject_nccl("skip@world:1:3");
  run_nccl_ranks(3, 0.3, [&](NcclRank& rank) {
    Actor actor(rank);
    Status status;
    for (int i = 0; i < 3 && status.ok(); ++i) status = actor.wait(actor.all_reduce());
    tell(rank, status);
    if (rank.world.rank() == 1) sleep_for_s(1);
  });
  for (const size_t rank : {0, 2}) {
    expect_words(told(rank), {"all_reduce of 4 F32 (operation 2", "did not complete in 0.3 s"});
  }
}

TEST_F(NcclFailuresTest, AnOperationThatHangsOnTheDeviceIsAborted) {
  emulation::inject_nccl("hang@world:1:2");
  run_nccl_ranks(2, 0.3, [&](NcclRank& rank) {
    Actor actor(rank);
    ASSERT_TRUE(actor.wait(actor.all_reduce()).ok());
    tell(rank, actor.wait(actor.all_reduce()));
    // The stream is usable again.
    EXPECT_TRUE(actor.stream().synchronize(Deadline::after_s(kFailuresLimitS)).ok());
  });
  expect_words(told(0), {"did not complete"});
  expect_words(told(1), {"did not complete"});
}

TEST_F(NcclFailuresTest, AnAsynchronousErrorIsEverybodys) {
  emulation::inject_nccl("error@world:1:2");
  const auto begin = std::chrono::steady_clock::now();
  run_nccl_ranks(3, 20, [&](NcclRank& rank) {
    Actor actor(rank);
    ASSERT_TRUE(actor.wait(actor.all_reduce()).ok());
    // The news of the error would end the first operation on ranks that have not seen its end yet.
    const auto host_stream = create_inline_stream("test", kFailuresLimitS);
    ASSERT_TRUE(barrier(rank.host, *host_stream, Deadline::after_s(kFailuresLimitS)).ok());
    tell(rank, actor.wait(actor.all_reduce()));
  });
  for (size_t rank = 0; rank < 3; ++rank) {
    EXPECT_EQ(told(rank).code(), Code::kUnavailable);
    expect_words(told(rank), {"all_reduce of 4 F32 on rank 1", "unhandled system error"});
  }
  EXPECT_LT(seconds_since(begin), 10) << "not at the deadline";
}

TEST_F(NcclFailuresTest, RanksThatDisagreeOnASizeAreTold) {
  run_nccl_ranks(2, 20, [&](NcclRank& rank) {
    Actor actor(rank);
    tell(rank, actor.wait(actor.all_reduce(1000 + rank.world.rank() * 8)));
  });
  for (const size_t rank : {0, 1}) expect_words(told(rank), {"invalid usage", "expects"});
}

TEST_F(NcclFailuresTest, AbortEndsWhatHangsAndReturnsAtOnce) {
  run_nccl_ranks(3, 20, [&](NcclRank& rank) {
    Actor actor(rank);
    ASSERT_TRUE(actor.wait(actor.all_reduce()).ok());
    if (rank.world.rank() == 2) {  // never comes
      sleep_for_s(0.2);
      const auto begin = std::chrono::steady_clock::now();
      rank.world.abort(Status(Code::kStorage, "the disk is full"));
      EXPECT_LT(seconds_since(begin), 0.1);
      return;
    }
    tell(rank, actor.wait(actor.all_reduce(1 << 18)));
  });
  for (const size_t rank : {0, 1}) expect_words(told(rank), {"the disk is full"});
}

TEST_F(NcclFailuresTest, AStreamThatFailedFailsTheOperationAndItsPeers) {
  run_nccl_ranks(2, 20, [&](NcclRank& rank) {
    Actor actor(rank);
    if (rank.world.rank() == 1) {
      CudaStream::from(actor.stream()).enqueue([](cudaStream_t) {
        throw DeviceError(Status(Code::kBadData, "a bad kernel"));
      });
    }
    tell(rank, actor.wait(actor.all_reduce()));
  });
  for (const size_t rank : {0, 1}) {
    EXPECT_EQ(told(rank).code(), Code::kBadData);
    expect_words(told(rank), {"the stream of rank 1 failed before all_reduce", "a bad kernel"});
  }
}

TEST_F(NcclFailuresTest, ARankThatLeavesEarlyIsNamed) {
  run_nccl_ranks(2, 20, [&](NcclRank& rank) {
    Actor actor(rank);
    auto part = rank.world.split(0, rank.world.rank(), "part");
    ASSERT_TRUE(part.ok());
    const auto reduce = [&] {
      return (*part)->all_reduce(actor.data(4), ReduceOp::kSum, actor.stream());
    };
    ASSERT_TRUE(actor.wait(reduce()).ok());
    const Work work = reduce();
    if (rank.world.rank() == 1) {
      // The operation may or may not be done here; the next one never is.
      (void)actor.wait(work);
      (void)(*part)->receive(actor.data(8), 0, actor.stream());
      (*part).reset();
      return;
    }
    (void)actor.wait(work);
    tell(rank, actor.wait((*part)->receive(actor.data(8), 1, actor.stream())));
  });
  expect_words(told(0), {"part: rank 1 left before its receive of 8 F32 from rank 0 was done"});
}

TEST_F(NcclFailuresTest, AMessageThatNobodySendsNamesThePeer) {
  run_nccl_ranks(2, 0.4, [&](NcclRank& rank) {
    Actor actor(rank);
    ASSERT_TRUE(actor.wait(actor.all_reduce()).ok());
    if (rank.world.rank() == 1) return sleep_for_s(1.5);
    tell(rank, actor.wait(rank.world.receive(actor.data(6), 1, actor.stream())));
  });
  expect_words(told(0),
               {"receive of 6 F32 from rank 1", "rank 1 answers", "all_reduce of 4 F32, done"});
}

TEST_F(NcclFailuresTest, AMessageOnAWarmLaneThatNobodySendsNamesThePeer) {
  run_nccl_ranks(2, 0.4, [&](NcclRank& rank) {
    Actor actor(rank);
    const int peer = 1 - rank.world.rank();
    const Work sent = rank.world.send(actor.data(16), peer, actor.stream());
    const Work received = rank.world.receive(actor.data(16), peer, actor.stream());
    ASSERT_TRUE(actor.wait(sent).ok() && actor.wait(received).ok());
    if (rank.world.rank() == 1) return sleep_for_s(1.5);
    tell(rank, actor.wait(rank.world.send(actor.data(7), 1, actor.stream())));
  });
  expect_words(told(0), {"send of 7 F32 to rank 1 (operation 1", "rank 1 answers"});
}

TEST_F(NcclFailuresTest, AGroupThatEndsInPeaceLeavesNothing) {
  run_nccl_ranks(4, 20, [&](NcclRank& rank) {
    Actor actor(rank);
    auto half = rank.world.split(rank.world.rank() % 2, rank.world.rank(), "half");
    ASSERT_TRUE(half.ok());
    EXPECT_TRUE(
        actor.wait((*half)->all_reduce(actor.data(9), ReduceOp::kSum, actor.stream())).ok());
    EXPECT_TRUE(actor.wait(actor.all_reduce()).ok());
    (*half).reset();
    EXPECT_TRUE(actor.wait(actor.all_reduce()).ok()) << "a part's end does not touch the whole";
  });
}

TEST_F(NcclFailuresTest, TwoRanksOnOneDeviceAreRefused) {
  run_ranks(2, {.timeout_s = kFailuresLimitS}, [&](Communicator& host) {
    const auto device = make_cuda_device(0);
    const auto world = create_nccl_communicator(host, *device, "world", 5);
    expect_words(world.status(), {"Duplicate GPU"});
  });
  EXPECT_NE(emulation::take_reports(), "");
}

}  // namespace

}  // namespace leasehold
