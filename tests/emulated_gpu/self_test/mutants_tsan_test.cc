// What the thread sanitizer says of planted faults: each is a race in one run, in whatever order;
// what has none is no race (one would end this program in failure).

#include <cstdlib>
#include <functional>

#include "tests/emulated_gpu/self_test/mutants_fixture.h"

namespace leasehold::self_test {
namespace {

class RacesTest : public MutantsTest {
 protected:
  // In a process of its own, which the sanitizer ends with 66 after a report.
  static void expect_race(const std::function<void()>& run) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    EXPECT_EXIT(
        {
          run();
          exit(0);
        },
        testing::ExitedWithCode(66), "WARNING: ThreadSanitizer: data race");
  }
};
using RacesDeathTest = RacesTest;

TEST_F(RacesTest, NoneWhereNothingIsMissing) {
  for (uint64_t seed = 0; seed < 3; ++seed) {
    emulation::set_seed(seed);
    EXPECT_TRUE(block_sums_are_right(Fault::kNone));
    EXPECT_TRUE(reversed_twice_is_right(Fault::kNone));
    EXPECT_TRUE(streams_are_right(Missing::kNothing));
  }
}

TEST_F(RacesDeathTest, MissingBarriers) {
  expect_race([&] { block_sums_are_right(Fault::kNoBarrierAfterWrite); });
  expect_race([&] { block_sums_are_right(Fault::kNoBarrierBeforeWrite); });
  expect_race([&] { reversed_twice_is_right(Fault::kNoWarpBarrier); });
}

TEST_F(RacesDeathTest, MissingWaitsAndEvents) {
  expect_race([&] { streams_are_right(Missing::kWaitForProducer); });
  expect_race([&] { streams_are_right(Missing::kWaitForConsumer); });
  expect_race([&] { streams_are_right(Missing::kRecord); });
  expect_race([&] { streams_are_right(Missing::kHostWait); });
}

}  // namespace
}  // namespace leasehold::self_test
