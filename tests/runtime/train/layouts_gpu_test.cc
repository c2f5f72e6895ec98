// Training on CUDA devices, one a rank, over NCCL: the layouts of the processor's table, a chosen
// part, keep their bits there too, and what comes out is what a CPU computes, but for rounding.
#include <chrono>
#include <gtest/gtest.h>

#include "collectives/nccl_forecast.h"
#include "models/gpt.h"
#include "runtime/device/cuda.h"
#include "runtime/device/planned_device.h"
#include "runtime/tensor/kernels_cuda_sizes.h"
#include "tests/runtime/train/layout_case.h"
#include "tests/support/temporary_directory.h"

namespace leasehold {
namespace {

// Why so many ranks cannot have a device each here; "" when they can.
std::string why_no_devices(int num_ranks) {
  const auto last = create_cuda_device(num_ranks - 1);
  return last.ok() ? "" : last.status().message();
}

class LayoutsGpuTest : public testing::TestWithParam<LayoutCase> {
 protected:
  LayoutsGpuTest() : tokens_(directory_ / "train.bin") { write_random_tokens(tokens_, 200, 60, 5); }

  LayoutTrace train(const LayoutCase& layout, DeviceKind kind, int64_t steps) const {
    SmallJob job = job_of(layout);
    job.device_kind = kind;
    return train_layout(job, tokens_, layout.num_ranks(), steps);
  }

  TemporaryDirectory directory_;
  std::string tokens_;
};

TEST_P(LayoutsGpuTest, DoesNotChangeABit) {
  const LayoutCase& layout = GetParam();
  const std::string why_not = why_no_devices(layout.num_ranks());
  if (!why_not.empty()) GTEST_SKIP() << why_not;
  const LayoutTrace one = train(layout.plain(), DeviceKind::kCuda, 2);
  EXPECT_EQ(train(layout, DeviceKind::kCuda, 2), one);
}

TEST_F(LayoutsGpuTest, TrainsAsTheCpuDoes) {
  const std::string why_not = why_no_devices(1);
  if (!why_not.empty()) GTEST_SKIP() << why_not;
  for (const bool is_llama : {false, true}) {
    for (const DType precision : {DType::kF32, DType::kBf16}) {
      const LayoutCase layout{.microbatches = 4, .is_llama = is_llama, .precision = precision};
      const LayoutTrace cpu = train(layout, DeviceKind::kCpu, 4);
      const LayoutTrace gpu = train(layout, DeviceKind::kCuda, 4);
      // Both round to bf16 at the same places, seldom to different sides.
      const double tolerance = precision == DType::kF32 ? 1e-5 : 2e-3;
      for (size_t step = 0; step < cpu.losses.size(); ++step) {
        EXPECT_NEAR(gpu.losses[step] / cpu.losses[step], 1, tolerance) << "step " << step;
        EXPECT_NEAR(gpu.norms[step] / cpu.norms[step], 1, 10 * tolerance) << "step " << step;
      }
    }
  }
}

// By the device's own clock: every collective, and what the compute stream waited for them.
TEST_F(LayoutsGpuTest, MeasuresCommunication) {
  const std::string why_not = why_no_devices(2);
  if (!why_not.empty()) GTEST_SKIP() << why_not;
  for (const int zero : {0, 1, 2, 3}) {
    SmallJob job = job_of({.data = 2, .zero = zero, .microbatches = 4});
    job.device_kind = DeviceKind::kCuda;
    run_ranks(2, {}, [&](Communicator& world) {
      SmallRank rank(job, tokens_, world);
      for (int64_t step = 0; step < 3; ++step) {
        const auto begin = std::chrono::steady_clock::now();
        const Communication measured =
            rank.engine().run_step(step, rank.loader(), {}).value().communication;
        const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - begin;
        EXPECT_GT(measured.busy_s, 0) << "ZeRO " << zero;
        EXPECT_LT(measured.busy_s, passed.count()) << "ZeRO " << zero;
        EXPECT_GT(measured.exposed_s, 0) << "ZeRO " << zero;
        EXPECT_LT(measured.exposed_s, passed.count()) << "ZeRO " << zero;
        EXPECT_TRUE(measured.hidden_share()) << "ZeRO " << zero;
      }
    });
  }
}

// To the byte: what is forecast on a machine without a GPU is what one with GPUs allocates.
TEST_P(LayoutsGpuTest, IsForecastWithoutAGpu) {
  const LayoutCase& layout = GetParam();
  const std::string why_not = why_no_devices(layout.num_ranks());
  if (!why_not.empty()) GTEST_SKIP() << why_not;
  SmallJob job = job_of(layout);
  job.device_kind = DeviceKind::kCuda;
  run_ranks(layout.num_ranks(), {}, [&](Communicator& world) {
    SmallRank rank(job, tokens_, world);
    const auto device = create_planned_device(DeviceKind::kCuda);
    const auto kernels = create_planned_cuda_kernels(layout.precision);
    Mesh mesh = Mesh::planned(job.mesh_of(world.size()), world.rank());
    const auto forecast =
        Engine::forecast(*device, *kernels, mesh, gpt_source(job.model), job.options).value();
    const auto allocated = rank.engine().memory();
    ASSERT_EQ(forecast.size(), allocated.size());
    for (size_t i = 0; i < forecast.size(); ++i) {
      EXPECT_EQ(forecast[i].name, allocated[i].name);
      EXPECT_EQ(forecast[i].bytes, allocated[i].bytes)
          << allocated[i].name << " of rank " << world.rank();
    }
  });
}

// A library that meets a product for the first time chooses, and may load what waits for all that
// runs, while a peer waits for this rank.
TEST_P(LayoutsGpuTest, ARehearsalMeetsEveryProductAndChangesNoBit) {
  const LayoutCase& layout = GetParam();
  const std::string why_not = why_no_devices(layout.num_ranks());
  if (!why_not.empty()) GTEST_SKIP() << why_not;
  const LayoutTrace plain = train(layout, DeviceKind::kCuda, 2);
  SmallJob job = job_of(layout);
  job.device_kind = DeviceKind::kCuda;
  job.options.rehearse = true;
  EXPECT_EQ(train_layout(job, tokens_, layout.num_ranks(), 2), plain);
  run_ranks(layout.num_ranks(), {}, [&](Communicator& world) {
    SmallRank rank(job, tokens_, world);
    const int64_t chosen = rank.kernels().num_choices();
    EXPECT_GT(chosen, 0);
    throw_if_error(rank.engine().run_step(0, rank.loader(), {}).status());
    throw_if_error(rank.engine().evaluate(rank.loader(), [] { return false; }).status());
    EXPECT_EQ(rank.kernels().num_choices(), chosen);
  });
}

// Each direction that messages take has one, and each axis with collectives; none is made besides.
TEST_P(LayoutsGpuTest, MakesTheCommunicatorsThatWereForecast) {
  const LayoutCase& layout = GetParam();
  const std::string why_not = why_no_devices(layout.num_ranks());
  if (!why_not.empty()) GTEST_SKIP() << why_not;
  SmallJob job = job_of(layout);
  job.device_kind = DeviceKind::kCuda;
  run_ranks(layout.num_ranks(), {}, [&](Communicator& world) {
    SmallRank rank(job, tokens_, world);
    throw_if_error(rank.engine().run_step(0, rank.loader(), {}).status());
    const Mesh& mesh = rank.mesh();
    const NcclForecast forecast =
        forecast_nccl(mesh.shape(), mesh.coordinates(), layout.chunks, job.model.tied);
    EXPECT_EQ(mesh.num_device_communicators(), forecast.axes + forecast.lanes)
        << "rank " << world.rank();
  });
}

std::vector<LayoutCase> table() {
  const auto bf16 = DType::kBf16;
  std::vector<LayoutCase> table = {{.data = 2, .zero = 1},
                                   {.data = 2, .zero = 1, .precision = bf16},
                                   {.data = 3, .zero = 3, .is_llama = true, .precision = bf16},
                                   {.data = 2, .zero = 2, .is_llama = true},
                                   {.pipeline = 2, .precision = bf16},
                                   {.data = 2, .pipeline = 2, .chunks = 2, .zero = 3},
                                   {.data = 2,
                                    .zero = 1,
                                    .tensor = 2,
                                    .recompute = Recompute::kBlock,
                                    .is_llama = true,
                                    .precision = bf16}};
  for (LayoutCase& layout : table) layout.microbatches = 4;
  return table;
}

INSTANTIATE_TEST_SUITE_P(Table, LayoutsGpuTest, testing::ValuesIn(table()),
                         [](const auto& tested) { return name_of(tested.param); });

}  // namespace
}  // namespace leasehold
