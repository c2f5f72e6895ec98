// Counts on the emulation what one step asks of the devices and of NCCL: launches, host waits,
// operations, communicators, bytes. The figures are those of the table in ARCHITECTURE.md.
#include <cstdio>
#include <gtest/gtest.h>
#include <mutex>

#include "runtime/comm/host_exchange.h"
#include "tests/emulated_gpu/emulation.h"
#include "tests/emulated_gpu/nccl_emulation.h"
#include "tests/runtime/train/layout_case.h"
#include "tests/support/temporary_directory.h"

namespace leasehold {
namespace {

struct StepCounts {
  emulation::HostCounts host;  // of rank 0's own thread
  emulation::NcclCounts nccl;  // of all ranks
  int communicators = 0;       // of the rank that has most
};

class StepCountsTest : public testing::Test {
 protected:
  StepCountsTest() : tokens_(directory_ / "train.bin") { write_random_tokens(tokens_, 400, 60, 5); }

  // Counts the third step, when everything is connected and chosen.
  StepCounts count(const SmallJob& job, int num_ranks) {
    constexpr int64_t kWarm = 2;
    StepCounts counts;
    std::mutex mutex;
    run_ranks(num_ranks, {}, [&](Communicator& world) {
      SmallRank rank(job, tokens_, world);
      const auto meet = [&] {
        throw_if_error(barrier(world, rank.stream(), Deadline::after_s(60)));
      };
      for (int64_t step = 0; step < kWarm; ++step)
        throw_if_error(rank.engine().run_step(step, rank.loader(), {}).status());
      meet();
      const emulation::NcclCounts nccl = emulation::nccl_counts();
      const emulation::HostCounts host = emulation::host_counts();
      meet();
      throw_if_error(rank.engine().run_step(kWarm, rank.loader(), {}).status());
      const emulation::HostCounts after = emulation::host_counts();
      meet();
      std::lock_guard lock(mutex);
      counts.communicators = std::max(counts.communicators, rank.mesh().num_device_communicators());
      if (world.rank() != 0) return;
      counts.host = {after.launches - host.launches, after.libraries - host.libraries,
                     after.records - host.records, after.polls - host.polls,
                     after.waits - host.waits};
      const emulation::NcclCounts now = emulation::nccl_counts();
      counts.nccl = {now.communicators, now.operations - nccl.operations, now.bytes - nccl.bytes,
                     now.questions - nccl.questions};
    });
    return counts;
  }

  static void print(const char* name, const StepCounts& counts, int num_ranks) {
    std::printf(
        "%s: rank 0: %lld kernels, %lld products and operations, %lld event records, %lld host "
        "waits; %lld operations of NCCL and %lld bytes a rank; %d communicators\n",
        name, static_cast<long long>(counts.host.launches),
        static_cast<long long>(counts.host.libraries), static_cast<long long>(counts.host.records),
        static_cast<long long>(counts.host.waits),
        static_cast<long long>(counts.nccl.operations / num_ranks),
        static_cast<long long>(counts.nccl.bytes / num_ranks), counts.communicators);
  }

  TemporaryDirectory directory_;
  std::string tokens_;
};

// The host waits where a step ends and where the ranks exchange scalars, and for room once it is
// some hundred tasks ahead; never for what it communicates.
int64_t most_waits(const StepCounts& counts) {
  constexpr int64_t kOfAStep = 8, kTasks = 32;
  return kOfAStep + (counts.host.launches + counts.host.libraries + counts.host.records) / kTasks;
}

TEST_F(StepCountsTest, OfTheSmallestGpt2) {
  SmallJob job = job_of({.data = 2, .zero = 1, .microbatches = 4, .precision = DType::kBf16});
  job.device_kind = DeviceKind::kCuda;
  job.model.layers = 12;
  const StepCounts counts = count(job, 2);
  print("gpt2, 12 layers, data 2, ZeRO 1, 4 microbatches", counts, 2);
  EXPECT_LE(counts.host.waits, most_waits(counts));
  EXPECT_EQ(counts.communicators, 1);
}

TEST_F(StepCountsTest, OfALlamaOnEightRanks) {
  const LayoutCase layout{.data = 2,
                          .pipeline = 2,
                          .zero = 3,
                          .microbatches = 4,
                          .tensor = 2,
                          .is_llama = true,
                          .precision = DType::kBf16};
  SmallJob job = job_of(layout);
  job.device_kind = DeviceKind::kCuda;
  const StepCounts counts = count(job, layout.num_ranks());
  print("llama, 4 layers, data 2 x pipeline 2 x tensor 2, ZeRO 3, 4 microbatches", counts,
        layout.num_ranks());
  EXPECT_LE(counts.host.waits, most_waits(counts));
  EXPECT_EQ(counts.communicators, 4) << "two axes, and to and from the other stage";
}

}  // namespace
}  // namespace leasehold
