// Planted faults: each must be found, and what has none must pass under the same schedules.

#include <functional>

#include "tests/emulated_gpu/self_test/mutants_fixture.h"

namespace leasehold::self_test {
namespace {

constexpr uint64_t kSeeds = 20;

// Of kSeeds schedules, those under which `right` is false.
int found(const std::function<bool()>& right) {
  int wrong = 0;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    emulation::set_seed(seed);
    if (!right()) ++wrong;
  }
  return wrong;
}

TEST_F(MutantsTest, MissingBarriersOfTheBlock) {
  const auto of = [&](Fault fault) { return found([&] { return block_sums_are_right(fault); }); };
  EXPECT_EQ(of(Fault::kNone), 0);
  EXPECT_EQ(of(Fault::kNoBarrierAfterWrite), kSeeds);
  EXPECT_EQ(of(Fault::kNoBarrierBeforeWrite), kSeeds);
}

TEST_F(MutantsTest, MissingBarrierOfAWarp) {
  const auto of = [&](Fault fault) {
    return found([&] { return reversed_twice_is_right(fault); });
  };
  EXPECT_EQ(of(Fault::kNone), 0);
  EXPECT_EQ(of(Fault::kNoWarpBarrier), kSeeds);
}

#ifndef LEASEHOLD_EMULATION_ASAN
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

TEST_F(MutantsTest, OverrunsOfDeviceMemory) {
  cudaStream_t on = stream();
  const float* in = counting(33);
  auto* out = device<float>(32);
  for (const int64_t first : {0, -1}) {
    add_one(in, out + first, first < 0 ? 32 : 33, 0, on);
    EXPECT_EQ(cudaStreamSynchronize(on), cudaErrorIllegalAddress);
    const std::string said = recover();
    EXPECT_NE(said.find(first < 0 ? "right before an allocation of 128 bytes"
                                  : "right after an allocation of 128 bytes"),
              std::string::npos)
        << said;
  }
}
#else
// The address sanitizer ends the process at the access itself, also at a read.
TEST_F(MutantsTest, Overruns) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  cudaStream_t on = stream();
  const float* in = counting(33);
  auto* out = device<float>(32);
  const auto expect_caught = [&](const std::function<void()>& run) {
    EXPECT_DEATH(
        {
          run();
          cudaStreamSynchronize(on);
        },
        "use-after-poison|out of bounds");
  };
  for (const Fault fault : {Fault::kWriteBefore, Fault::kWriteAfter, Fault::kWriteBeforeDynamic,
                            Fault::kWriteAfterDynamic}) {
    expect_caught([&] { copy_through_shared(fault, in, out, on); });
  }
  expect_caught([&] { add_one(in, out, 33, 0, on); });
  expect_caught([&] { add_one(in, out - 1, 32, 0, on); });
  expect_caught([&] { add_one(out, const_cast<float*>(in), 33, 0, on); });
}
#endif

// A schedule may hide one of these; the seeds together do not.
TEST_F(MutantsTest, MissingWaitsAndEvents) {
  const auto of = [&](Missing missing) {
    return found([&] { return streams_are_right(missing); });
  };
  EXPECT_EQ(of(Missing::kNothing), 0);
  EXPECT_GE(of(Missing::kWaitForProducer), static_cast<int>(kSeeds) / 2);
  EXPECT_GE(of(Missing::kWaitForConsumer), 2);
  EXPECT_GE(of(Missing::kRecord), static_cast<int>(kSeeds) / 2);
  EXPECT_GE(of(Missing::kHostWait), static_cast<int>(kSeeds) / 2);
}

}  // namespace
}  // namespace leasehold::self_test
