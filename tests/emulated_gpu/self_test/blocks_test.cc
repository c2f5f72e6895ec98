// Kernels as fibers: what runs right must run right under every schedule, and what is undefined
// must be said.

#include <bit>
#include <cmath>

#include "runtime/base/status.h"
#include "tests/emulated_gpu/self_test/fixture.h"
#include "tests/emulated_gpu/self_test/kernels.h"

namespace leasehold::self_test {
namespace {

class BlocksTest : public EmulationTest {};

TEST_F(BlocksTest, EveryThreadOfEveryBlockRunsOnce) {
  cudaStream_t on = stream();
  for (uint64_t seed = 0; seed < 5; ++seed) {
    emulation::set_seed(seed);
    for (const dim3 block : {dim3(1), dim3(33), dim3(5, 7, 3), dim3(1024)}) {
      const dim3 grid(7, 3, 2);
      const int64_t n = int64_t{grid.x} * grid.y * grid.z * block.x * block.y * block.z;
      auto* out = device<int>(n);
      places(out, grid, block, on);
      for (const int value : host(out, n, on)) ASSERT_EQ(value, 1);
    }
  }
}

TEST_F(BlocksTest, ExchangesGiveWhatCudaDefines) {
  cudaStream_t on = stream();
  auto* out = device<int>(32 * 8);
  for (uint64_t seed = 0; seed < 10; ++seed) {
    emulation::set_seed(seed);
    exchanges(out, on);
    const auto rows = host(out, 32 * 8, on);
    unsigned thirds = 0;
    for (int t = 0; t < 32; t += 3) thirds |= 1U << t;
    for (int t = 0; t < 32; ++t) {
      const int* row = rows.data() + t * 8;
      EXPECT_EQ(row[0], 50);
      EXPECT_EQ(row[1], t < 3 ? t : t - 3);
      EXPECT_EQ(row[2], t % 16 + 3 < 16 ? t + 3 : t);
      EXPECT_EQ(row[3], t ^ 8);
      EXPECT_EQ(static_cast<unsigned>(row[4]), thirds);
      EXPECT_EQ(row[5], 2);
      EXPECT_EQ(row[6], 8);
      EXPECT_EQ(row[7], t < 16 ? 2 : 20);
    }
  }
}

TEST_F(BlocksTest, LanesMeetInGroups) {
  cudaStream_t on = stream();
  auto* out = device<int>(32);
  meet(out, on);
  const auto sums = host(out, 32, on);
  for (int t = 0; t < 32; ++t) EXPECT_EQ(sums[t], t / 4 * 16 + 6);
}

TEST_F(BlocksTest, SharedMemoryStartsAsNaN) {
  cudaStream_t on = stream();
  auto* out = device<float>(1000);
  unwritten_shared(out, 1000, 4000, on);
  for (const float value : host(out, 1000, on)) ASSERT_TRUE(std::isnan(value));
}

TEST_F(BlocksTest, MoreSharedMemoryMustBeAllowed) {
  cudaStream_t on = stream();
  auto* out = device<float>(100);
  unwritten_shared(out, 100, 48 << 10, on);
  EXPECT_THROW(unwritten_shared(out, 100, (48 << 10) + 1, on), StatusError);
  EXPECT_NE(emulation::take_reports().find("dynamic shared memory"), std::string::npos);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidValue);
  allow_unwritten_shared(100 << 10);
  unwritten_shared(out, 100, 100 << 10, on);
  EXPECT_THROW(allow_unwritten_shared(164 << 10), StatusError);  // sm_80 has 163
  EXPECT_NE(emulation::take_reports().find("166912"), std::string::npos);
  allow_unwritten_shared(48 << 10);
}

TEST_F(BlocksTest, BlocksObeyTheirLaunchBounds) {
  cudaStream_t on = stream();
  auto* in = counting(2);
  EXPECT_THROW(add_one(in, in, 0, 0, on), StatusError);  // an empty grid
  EXPECT_NE(emulation::take_reports().find("grid (0"), std::string::npos);
  EXPECT_THROW(places(device<int>(1), dim3(1), dim3(1025), on), StatusError);
  EXPECT_NE(emulation::take_reports().find("1025"), std::string::npos);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidConfiguration);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

struct Misuse {
  Fault fault;
  const char* said;
};

void PrintTo(const Misuse& misuse, std::ostream* out) { *out << misuse.said; }

class MisuseTest : public EmulationTest, public testing::WithParamInterface<Misuse> {};

TEST_P(MisuseTest, IsSaidAndFaultsTheDevice) {
  for (uint64_t seed = 0; seed < 4; ++seed) {
    emulation::set_seed(seed);
    cudaStream_t on = stream();
    auto* out = device<float>(1);
    misuse(Fault::kNone, out, on);
    EXPECT_EQ(cudaStreamSynchronize(on), cudaSuccess);
    EXPECT_EQ(emulation::take_reports(), "");
    misuse(GetParam().fault, out, on);
    EXPECT_NE(cudaStreamSynchronize(on), cudaSuccess);
    const std::string said = recover();
    EXPECT_NE(said.find(GetParam().said), std::string::npos) << said;
    if (GetParam().fault != Fault::kTrap) {
      EXPECT_NE(said.find("kernels.cu:"), std::string::npos) << said;
    }
    // The fibers that never ended are forgotten.
    misuse(Fault::kNone, out, on);
    EXPECT_EQ(host(out, 1, on)[0], 1.0F);
  }
}

INSTANTIATE_TEST_SUITE_P(All, MisuseTest,
                         testing::Values(Misuse{Fault::kEarlyReturn, "have left the kernel"},
                                         Misuse{Fault::kEarlyExit, "names lanes that have left"},
                                         Misuse{Fault::kPartialMask, "is not in the mask"},
                                         Misuse{Fault::kOtherMask, "mask"},
                                         Misuse{Fault::kOtherBarrier, "different barriers"},
                                         Misuse{Fault::kTrap, "__trap"}),
                         [](const auto& tested) {
                           return "Fault" + std::to_string(static_cast<int>(tested.param.fault));
                         });

}  // namespace
}  // namespace leasehold::self_test
