// Runs the conformance suite over `nccl`, with ranks as threads.
#include <cstdlib>
#include <gtest/gtest.h>

#include "collectives/nccl.h"
#include "collectives/threads.h"
#include "tests/collectives/conformance.h"
#include "tests/collectives/nccl_ranks.h"

namespace leasehold {

namespace {

constexpr double kConformanceTimeoutS = 60;

class NcclConformanceTest : public testing::TestWithParam<std::tuple<int, size_t>> {};

TEST_P(NcclConformanceTest, Holds) {
  const auto [size, index] = GetParam();
  const ConformanceCase& conformance_case = conformance_cases()[index];
  if (const std::string reason = why_no_devices(size); !reason.empty()) GTEST_SKIP() << reason;
  run_nccl_ranks(size, kConformanceTimeoutS, [&](NcclRank& rank) {
    ConformanceDevice on = conformance_device(rank.device);
    conformance_case.run(rank.world, on);
    EXPECT_TRUE(rank.world.health().ok()) << rank.world.health().message();
  });
}

std::vector<size_t> cases_of_devices() {
  std::vector<size_t> cases;
  for (size_t i = 0; i < conformance_cases().size(); ++i) {
    if (!conformance_cases()[i].needs_host_memory) cases.push_back(i);
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Communicators, NcclConformanceTest,
                         testing::Combine(testing::Values(1, 2, 3, 4),
                                          testing::ValuesIn(cases_of_devices())),
                         [](const auto& tested) {
                           return fmt::format("nccl_{}_{}", std::get<0>(tested.param),
                                              conformance_cases()[std::get<1>(tested.param)].name);
                         });

// Weights and activations in bf16 move unchanged, even an odd number of bytes.
TEST(NcclTest, MovesElementsOfAnyTypeAsTheyAre) {
  if (const std::string reason = why_no_devices(2); !reason.empty()) GTEST_SKIP() << reason;
  run_nccl_ranks(2, kConformanceTimeoutS, [&](NcclRank& rank) {
    const auto stream = std::move(rank.device.create_stream("communication")).value();
    const Deadline deadline = Deadline::after_s(kConformanceTimeoutS);
    for (const DType dtype : {DType::kBf16, DType::kU8, DType::kI32, DType::kF32, DType::kF64}) {
      const int64_t n = 1021, bytes = n * size_of(dtype);
      const auto memory =
          std::move(rank.device.allocate(2 * bytes, MemoryKind::kDevice, "a test")).value();
      const Tensor all(memory->data(), dtype, {2 * n});
      const Tensor own = all.flat(rank.world.rank() * n, n);
      std::vector<unsigned char> before(static_cast<size_t>(bytes)), after(2 * before.size());
      const auto byte_of = [](int from, int64_t i) {
        return static_cast<unsigned char>(i * 7 + from * 101 + 1);
      };
      for (int64_t i = 0; i < bytes; ++i)
        before[static_cast<size_t>(i)] = byte_of(rank.world.rank(), i);
      stream->copy(own.data(), before.data(), bytes);
      rank.world.all_gather(own, all, *stream).then(*stream);
      stream->copy(after.data(), all.data(), 2 * bytes);
      const Status status = stream->synchronize(deadline);
      ASSERT_TRUE(status.ok()) << status.message();
      for (int64_t i = 0; i < 2 * bytes; ++i) {
        ASSERT_EQ(after[static_cast<size_t>(i)], byte_of(static_cast<int>(i / bytes), i % bytes))
            << dtype_name(dtype) << " " << i;
      }
    }
  });
}

}  // namespace

}  // namespace leasehold
