// Runs the conformance suite over `mpi`, on inline and on asynchronous streams. The limits are low,
// so that small data takes the paths of large data: several segments, several pipelines, several
// messages.
#include "collectives/mpi.h"

#include <gtest/gtest.h>

#include "runtime/device/cpu_device.h"
#include "tests/collectives/conformance.h"
#include "tests/collectives/mpi_main.h"

namespace leasehold {

namespace {

class MpiConformanceTest : public testing::TestWithParam<std::tuple<int, size_t>> {};

constexpr uint64_t kDelaySeed = 40;

TEST_P(MpiConformanceTest, Holds) {
  const auto [mode, index] = GetParam();
  Communicator& world = test_runtime().world();
  const auto rank = static_cast<uint64_t>(world.rank());
  const auto device = CpuDevice::create(
      {.asynchronous = mode > 0, .delay_seed = mode == 2 ? kDelaySeed + rank : 0});
  ConformanceDevice on = conformance_device(*device);
  conformance_cases()[index].run(world, on);
  EXPECT_TRUE(world.health().ok()) << world.health().message();
}

std::string case_name(const testing::TestParamInfo<std::tuple<int, size_t>>& tested) {
  const char* modes[] = {"inline_", "asynchronous_", "delayed_"};
  const auto [mode, index] = tested.param;
  return std::string(modes[mode]) + conformance_cases()[index].name;
}

INSTANTIATE_TEST_SUITE_P(Mpi, MpiConformanceTest,
                         testing::Combine(testing::Values(0, 1, 2),
                                          testing::Range(size_t{0}, conformance_cases().size())),
                         case_name);

}  // namespace

}  // namespace leasehold

int main(int argc, char** argv) {
  return leasehold::run_mpi_tests(
      argc, argv,
      {.timeout_s = 60,
       .node = "test",
       .limits = {.segment_bytes = 16 << 10, .message_bytes = 48 << 10}});
}
