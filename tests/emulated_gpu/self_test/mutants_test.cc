// Planted faults: each must be found, and what has none must pass under the same schedules.

#include <functional>

#include "tests/emulated_gpu/self_test/fixture.h"
#include "tests/emulated_gpu/self_test/kernels.h"

namespace leasehold::self_test {
namespace {

constexpr uint64_t kSeeds = 20;

class MutantsTest : public EmulationTest {
 protected:
  // Of kSeeds schedules, those under which `right` is false.
  static int found(const std::function<bool()>& right) {
    int wrong = 0;
    for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
      emulation::set_seed(seed);
      if (!right()) ++wrong;
    }
    return wrong;
  }
};

TEST_F(MutantsTest, MissingBarriersOfTheBlock) {
  constexpr int kBlocks = 3;
  constexpr int kN = kBlocks * 256;
  cudaStream_t on = stream();
  const float* in = counting(kN);
  auto* out = device<float>(kN);
  const auto right_with = [&](Fault fault) {
    return [&, fault] {
      block_sums(fault, in, out, kBlocks, on);
      const auto sums = host(out, kN, on);
      for (int i = 0; i < kN; ++i) {
        const int block = i / 256;
        const auto once = static_cast<float>(256 * 256 * block + 255 * 256 / 2);
        if (sums[i] != 3 * once + 3 * 256) return false;
      }
      return true;
    };
  };
  EXPECT_EQ(found(right_with(Fault::kNone)), 0);
  EXPECT_EQ(found(right_with(Fault::kNoBarrierAfterWrite)), kSeeds);
  EXPECT_EQ(found(right_with(Fault::kNoBarrierBeforeWrite)), kSeeds);
}

TEST_F(MutantsTest, MissingBarrierOfAWarp) {
  constexpr int kN = 256;
  cudaStream_t on = stream();
  const float* in = counting(kN);
  auto* out = device<float>(kN);
  const auto right_with = [&](Fault fault) {
    return [&, fault] {
      reverse_twice(fault, in, out, 1, on);
      const auto copied = host(out, kN, on);
      for (int i = 0; i < kN; ++i) {
        if (copied[i] != static_cast<float>(i)) return false;
      }
      return true;
    };
  };
  EXPECT_EQ(found(right_with(Fault::kNone)), 0);
  EXPECT_EQ(found(right_with(Fault::kNoWarpBarrier)), kSeeds);
}

#ifndef LEASEHOLD_EMULATION_ASAN  // which ends the process at such a write
TEST_F(MutantsTest, OverrunsOfSharedMemory) {
  cudaStream_t on = stream();
  const float* in = counting(32);
  auto* out = device<float>(32);
  copy_through_shared(Fault::kNone, in, out, on);
  const auto copied = host(out, 32, on);
  for (int i = 0; i < 32; ++i) EXPECT_EQ(copied[i], static_cast<float>(i));
  struct Case {
    Fault fault;
    const char* said;
  };
  for (const Case& planted : {Case{Fault::kWriteBefore, "after first (128 bytes), 4 before what"},
                              Case{Fault::kWriteAfter, "written 0 bytes after first"},
                              Case{Fault::kWriteBeforeDynamic, "4 bytes before the dynamic part"},
                              Case{Fault::kWriteAfterDynamic, "0 bytes after the dynamic part"}}) {
    copy_through_shared(planted.fault, in, out, on);
    EXPECT_EQ(cudaStreamSynchronize(on), cudaErrorIllegalAddress);
    const std::string said = recover();
    EXPECT_NE(said.find(planted.said), std::string::npos) << said;
  }
}
#endif

// A producer and a consumer on two streams, twice over the same buffer.
class StreamsMutantsTest : public MutantsTest {
 protected:
  enum class Missing { kNothing, kWaitForProducer, kWaitForConsumer, kRecord, kHostWait };

  bool right(Missing missing) {
    constexpr int64_t kN = 4096;
    constexpr int kWork = 20;
    cudaStream_t producer = stream();
    cudaStream_t consumer = stream();
    cudaEvent_t produced = event();
    cudaEvent_t consumed = event();
    auto* in = counting(kN);
    auto* buffer = device<float>(kN);
    auto* out = device<float>(kN * 2);
    for (int round = 0; round < 2; ++round) {
      if (round > 0 && missing != Missing::kWaitForConsumer) {
        EXPECT_EQ(cudaStreamWaitEvent(producer, consumed, 0), cudaSuccess);
      }
      add_one(round == 0 ? in : out, buffer, kN, kWork, producer);
      if (round == 0 || missing != Missing::kRecord) {
        EXPECT_EQ(cudaEventRecord(produced, producer), cudaSuccess);
      }
      if (missing != Missing::kWaitForProducer) {
        EXPECT_EQ(cudaStreamWaitEvent(consumer, produced, 0), cudaSuccess);
      }
      add_one(buffer, out + round * kN, kN, kWork, consumer);
      EXPECT_EQ(cudaEventRecord(consumed, consumer), cudaSuccess);
    }
    std::vector<float> read(kN * 2, -1.0F);
    EXPECT_EQ(
        cudaMemcpyAsync(read.data(), out, read.size() * sizeof(float), cudaMemcpyDefault, consumer),
        cudaSuccess);
    std::vector<float> seen;
    if (missing == Missing::kHostWait) seen = read;
    EXPECT_EQ(cudaStreamSynchronize(consumer), cudaSuccess);
    EXPECT_EQ(cudaStreamSynchronize(producer), cudaSuccess);
    if (missing != Missing::kHostWait) seen = read;
    for (int64_t i = 0; i < kN; ++i) {
      if (seen[i] != static_cast<float>(i + 2)) return false;
      if (seen[kN + i] != static_cast<float>(i + 4)) return false;
    }
    return true;
  }
};

TEST_F(StreamsMutantsTest, MissingWaitsAndEvents) {
  EXPECT_EQ(found([&] { return right(Missing::kNothing); }), 0);
  // A schedule may hide one of these; the seeds together do not.
  const auto often = [&](Missing missing) { return found([&] { return right(missing); }); };
  EXPECT_GE(often(Missing::kWaitForProducer), static_cast<int>(kSeeds) / 2);
  EXPECT_GE(often(Missing::kWaitForConsumer), 2);
  EXPECT_GE(often(Missing::kRecord), static_cast<int>(kSeeds) / 2);
  EXPECT_GE(often(Missing::kHostWait), static_cast<int>(kSeeds) / 2);
}

}  // namespace
}  // namespace leasehold::self_test
