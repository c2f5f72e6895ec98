// The processors, memory, communicators and host time that groups of GPUs take, on emulated
// devices, ranks as threads.
#include <chrono>
#include <gtest/gtest.h>
#include <thread>

#include "collectives/nccl.h"
#include "collectives/threads.h"
#include "runtime/base/resource_exhausted.h"
#include "runtime/comm/host_exchange.h"
#include "runtime/device/cpu_stream.h"
#include "runtime/device/cuda_stream.h"
#include "tests/collectives/nccl_ranks.h"
#include "tests/emulated_gpu/emulation.h"
#include "tests/emulated_gpu/nccl_emulation.h"

namespace leasehold {

namespace {

constexpr double kResourcesLimitS = 30;

class NcclResourcesTest : public testing::Test {
 protected:
  void TearDown() override {
    emulation::reset();
    emulation::set_nccl_messages_per_group(2048);
    EXPECT_EQ(emulation::take_reports(), "");
  }
};

// A rank's streams and some elements.
class Worker {
 public:
  Worker(NcclRank& rank, int64_t elements)
      : on_(conformance_device(rank.device)),
        compute_(std::move(rank.device.create_stream("compute")).value()),
        communication_(std::move(rank.device.create_stream("communication")).value()),
        event_(std::move(rank.device.create_event()).value()),
        memory_(std::move(rank.device.allocate(3 * elements * 8, MemoryKind::kDevice, "a test"))
                    .value()),
        all_(memory_->data(), DType::kF64, {3 * elements}) {}

  Tensor data(int64_t begin, int64_t n) const { return all_.flat(begin, n); }
  Stream& compute() { return *compute_; }
  Stream& communication() { return *communication_; }
  Event& event() { return *event_; }
  // A kernel over a third of the elements.
  void add() {
    const int64_t n = all_.num_elements() / 3;
    on_.add(*compute_, data(0, n), data(n, n), data(2 * n, n));
  }
  static Status wait(const Work& work) { return work.wait(Deadline::after_s(kResourcesLimitS)); }

 private:
  ConformanceDevice on_;
  std::unique_ptr<Stream> compute_, communication_;
  std::unique_ptr<Event> event_;
  std::unique_ptr<Memory> memory_;
  Tensor all_;
};

void meet(NcclRank& rank) {
  const auto stream = create_inline_stream("test", kResourcesLimitS);
  throw_if_error(barrier(rank.host, *stream, Deadline::after_s(kResourcesLimitS)));
}

// A pipeline's rank receives from both sides before it can send: its kernels must run meanwhile.
TEST_F(NcclResourcesTest, MessagesThatWaitLeaveProcessorsToKernels) {
  constexpr int kRanks = 5;
  run_nccl_ranks(kRanks, kResourcesLimitS, [&](NcclRank& rank) {
    Worker worker(rank, 1 << 12);
    const bool receives = rank.world.rank() == 0;
    const auto exchange = [&] {
      std::vector<Work> works;
      for (int peer = 1; peer < kRanks && receives; ++peer)
        works.push_back(rank.world.receive(worker.data(peer, 1), peer, worker.communication()));
      if (!receives) works.push_back(rank.world.send(worker.data(0, 1), 0, worker.communication()));
      return works;
    };
    for (const Work& work : exchange()) ASSERT_TRUE(Worker::wait(work).ok());  // connected by now
    meet(rank);
    std::vector<Work> works;
    if (receives) {
      works = exchange();
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      worker.add();
      const Status ran = worker.compute().synchronize(Deadline::after_s(5));
      EXPECT_TRUE(ran.ok()) << ran.message();
    }
    meet(rank);
    if (!receives) works = exchange();
    for (const Work& work : works) EXPECT_TRUE(Worker::wait(work).ok());
  });
}

// A collective has few blocks, and all ranks wait for the last of them.
TEST_F(NcclResourcesTest, ACollectiveDoesNotWaitForAllKernelsThatWereEnqueuedBefore) {
  constexpr int kKernels = 60;
  run_nccl_ranks(2, kResourcesLimitS, [&](NcclRank& rank) {
    Worker worker(rank, 1 << 17);
    worker.add();
    ASSERT_TRUE(worker.compute().synchronize(Deadline::after_s(kResourcesLimitS)).ok());
    meet(rank);
    for (int i = 0; i < kKernels; ++i) worker.add();
    worker.compute().record(worker.event());
    const Work work =
        rank.world.all_reduce(worker.data(0, 1).flat(0, 1), ReduceOp::kSum, worker.communication());
    EXPECT_TRUE(Worker::wait(work).ok());
    EXPECT_FALSE(worker.event().ready()) << "the collective came after " << kKernels << " kernels";
    EXPECT_TRUE(worker.compute().synchronize(Deadline::after_s(kResourcesLimitS)).ok());
  });
}

TEST_F(NcclResourcesTest, MemoryThatDoesNotSufficeForACommunicatorIsNoLostPeer) {
  run_ranks(2, {.timeout_s = kResourcesLimitS}, [&](Communicator& host) {
    const auto device = make_cuda_device(host.rank());
    if (host.rank() == 1) emulation::set_memory_limit(1, 600 << 10);
    const auto made = create_nccl_communicator(host, *device, "world", kResourcesLimitS);
    EXPECT_EQ(made.status().code(), kResourceExhausted) << made.status().message();
    for (const char* words : {"group world", "out of memory", "NCCL", "batch.microbatch"})
      EXPECT_NE(made.status().message().find(words), std::string::npos)
          << words << " in " << made.status().message();
  });
}

// It may also run out when ranks are connected for their first message.
TEST_F(NcclResourcesTest, MemoryThatDoesNotSufficeForALaneIsNoLostPeer) {
  run_nccl_ranks(2, kResourcesLimitS, [&](NcclRank& rank) {
    Worker worker(rank, 16);
    meet(rank);
    if (rank.world.rank() == 1) emulation::set_memory_limit(1, 1 << 10);
    const Work work = rank.world.rank() == 0
                          ? rank.world.send(worker.data(0, 1), 1, worker.communication())
                          : rank.world.receive(worker.data(0, 1), 0, worker.communication());
    const Status status = Worker::wait(work);
    EXPECT_EQ(status.code(), kResourceExhausted) << status.message();
    EXPECT_NE(status.message().find("out of memory"), std::string::npos) << status.message();
  });
}

// NCCL takes 2048 messages a call, and more than 1024 ranks had more; here the limit is small.
TEST_F(NcclResourcesTest, ExchangesOfManyRanksAreCut) {
  for (const int most : {2, 4, 6}) {
    emulation::set_nccl_messages_per_group(most);
    const NcclOptions options{.messages_per_call = most};
    run_nccl_ranks(
        4, kResourcesLimitS,
        [&](NcclRank& rank) {
          ConformanceDevice on = conformance_device(rank.device);
          for (const ConformanceCase& each : conformance_cases()) {
            if (std::string(each.name) == "all_to_all") each.run(rank.world, on);
          }
        },
        options);
  }
}

TEST_F(NcclResourcesTest, AGroupForMessagesHasACommunicatorForEachNeighbourAlone) {
  for (const GroupUse use : {GroupUse::kMessagesAhead, GroupUse::kMessagesBack}) {
    const int64_t before = emulation::nccl_counts().communicators;
    constexpr int kRanks = 4;
    run_nccl_ranks(
        kRanks, kResourcesLimitS,
        [&](NcclRank& rank) {
          Worker worker(rank, 16);
          const int own = rank.world.rank();
          const int step = use == GroupUse::kMessagesAhead ? 1 : -1;
          const int to = own + step, from = own - step;
          std::vector<Work> works;
          if (to >= 0 && to < kRanks)
            works.push_back(rank.world.send(worker.data(0, 1), to, worker.communication()));
          if (from >= 0 && from < kRanks)
            works.push_back(rank.world.receive(worker.data(1, 1), from, worker.communication()));
          for (const Work& work : works) EXPECT_TRUE(Worker::wait(work).ok());
          EXPECT_EQ(rank.world.num_device_communicators(), own == 0 || own == kRanks - 1 ? 1 : 2);
          EXPECT_THROW(
              rank.world.all_reduce(worker.data(0, 1), ReduceOp::kSum, worker.communication()),
              StatusError);
          meet(rank);
        },
        {.use = use});
    EXPECT_EQ(emulation::nccl_counts().communicators - before, 2 * (kRanks - 1));
  }
}

// Enqueueing an operation of a connected communicator takes calls and no waiting, whoever is late.
TEST_F(NcclResourcesTest, TheHostDoesNotWaitForWhatItEnqueues) {
  constexpr int kOperations = 50;
  run_nccl_ranks(2, kResourcesLimitS, [&](NcclRank& rank) {
    Worker worker(rank, 64);
    const Tensor data = worker.data(0, 8);
    const auto enqueue = [&] {
      rank.world.all_reduce(data, ReduceOp::kSum, worker.compute()).then(worker.compute());
    };
    enqueue();
    ASSERT_TRUE(worker.compute().synchronize(Deadline::after_s(kResourcesLimitS)).ok());
    meet(rank);
    if (rank.world.rank() == 1) std::this_thread::sleep_for(std::chrono::milliseconds(1200));
    const emulation::HostCounts before = emulation::host_counts();
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < kOperations; ++i) enqueue();
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - begin;
    EXPECT_EQ(emulation::host_counts().waits, before.waits);
    EXPECT_LT(passed.count(), 0.9) << "it waited for the other rank";
    ASSERT_TRUE(worker.compute().synchronize(Deadline::after_s(kResourcesLimitS)).ok());
  });
}

}  // namespace

}  // namespace leasehold
