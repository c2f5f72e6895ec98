// What a layout holds in memory: forecasts are what is allocated, ZeRO 3 holds shards, and a
// pipeline's activations are bounded by its depth.
#include <cmath>
#include <gtest/gtest.h>
#include <map>

#include "collectives/threads.h"
#include "models/gpt.h"
#include "runtime/device/planned_device.h"
#include "runtime/tensor/kernels_cuda_sizes.h"
#include "tests/support/small_job.h"
#include "tests/support/temporary_directory.h"

namespace leasehold {
namespace {

struct MemoryLayout {
  int data = 1, pipeline = 1, chunks = 1, zero = 0;
  Reduction reduction = Reduction::kCanonical;
  PipelineSchedule schedule = PipelineSchedule::kOneForwardOneBackward;
  DType precision = DType::kF32;
};

// Large enough that padding to chunks is little: a block has 198,000 parameters.
SmallJob memory_job(const MemoryLayout& layout, int64_t microbatches = 8) {
  SmallJob job;
  job.model.layers = 4;
  job.model.hidden = 128;
  job.model.ffn = 512;
  job.options.batch = {.num_microbatches = microbatches, .num_lanes = microbatches};
  job.options.zero_stage = layout.zero;
  job.options.num_chunks = layout.chunks;
  job.options.reduction = layout.reduction;
  job.options.schedule = layout.schedule;
  job.options.bucket_bytes = int64_t{1} << 20;
  job.pipeline = layout.pipeline;
  job.precision = layout.precision;
  return job;
}

std::vector<ArenaSize> forecast_arenas(const SmallJob& job, int num_ranks, int rank) {
  const auto device = CpuDevice::create(job.device);
  const auto kernels = create_cpu_kernels(*device, job.precision);
  Mesh mesh = Mesh::planned(job.mesh_of(num_ranks), rank);
  return Engine::forecast(*device, *kernels, mesh, gpt_source(job.model), job.options).value();
}

std::map<std::string, int64_t> forecast(const SmallJob& job, int num_ranks, int rank) {
  std::map<std::string, int64_t> sizes;
  for (const ArenaSize& size : forecast_arenas(job, num_ranks, rank)) sizes[size.name] = size.bytes;
  return sizes;
}

TEST(LayoutMemoryTest, ForecastsOfWorldsThatAreNotThereAreWhatTheyAllocate) {
  const TemporaryDirectory directory;
  const std::string tokens = directory / "train.bin";
  write_random_tokens(tokens, 700, 61, 5);
  const auto gpipe = PipelineSchedule::kGpipe;
  const MemoryLayout layouts[] = {
      {},
      {.data = 2},
      {.data = 3, .zero = 1},
      {.data = 4, .zero = 2},
      {.data = 4, .zero = 3},
      {.data = 2, .zero = 3, .reduction = Reduction::kFast},
      {.pipeline = 2},
      {.pipeline = 4, .zero = 1},
      {.pipeline = 4, .schedule = gpipe},
      {.pipeline = 2, .chunks = 2},
      {.data = 2, .pipeline = 2, .zero = 2},
      {.data = 3, .pipeline = 2, .chunks = 2, .zero = 3},
      {.precision = DType::kBf16},
      {.data = 2, .pipeline = 2, .zero = 1, .precision = DType::kBf16},
      {.data = 3, .zero = 3, .precision = DType::kBf16},
  };
  for (const MemoryLayout& layout : layouts) {
    const SmallJob job = memory_job(layout);
    const int num_ranks = layout.data * layout.pipeline;
    run_ranks(num_ranks, {}, [&](Communicator& world) {
      SmallRank rank(job, tokens, world);
      const auto expected = forecast(job, num_ranks, world.rank());
      for (const ArenaSize& size : rank.engine().memory())
        EXPECT_EQ(size.bytes, expected.at(size.name)) << size.name << " of rank " << world.rank();
    });
  }
}

// What a lease says of a slot's memory is the device's: pinned host memory is not in it.
TEST(LayoutMemoryTest, DevicesDoNotHoldPinnedMemory) {
  const auto arenas = forecast_arenas(memory_job({}), 1, 0);
  int64_t all = 0, staging = 0;
  for (const ArenaSize& arena : arenas) {
    all += arena.bytes;
    if (arena.name == "staging") staging += arena.bytes;
  }
  ASSERT_GT(staging, 0);
  EXPECT_EQ(device_bytes(arenas, DeviceKind::kCpu), all);
  EXPECT_EQ(device_bytes(arenas, DeviceKind::kCuda), all - staging);
}

// A GPU's forecast needs none. The rank's shard of weights and moments has a copy in pinned memory,
// under ZeRO 0 too.
TEST(LayoutMemoryTest, ForecastsForGpusNeedNone) {
  const std::pair<DType, int> kinds[] = {
      {DType::kF32, 0}, {DType::kF32, 1}, {DType::kBf16, 0}, {DType::kBf16, 1}};
  for (const auto& [precision, zero] : kinds) {
    const SmallJob job = memory_job({.data = 2, .zero = zero, .precision = precision});
    const auto device = create_planned_device(DeviceKind::kCuda);
    const auto kernels = create_planned_cuda_kernels(precision);
    Mesh mesh = Mesh::planned(job.mesh_of(2), 0);
    const auto arenas =
        Engine::forecast(*device, *kernels, mesh, gpt_source(job.model), job.options).value();
    const auto of_cpu = forecast(job, 2, 0);
    for (const ArenaSize& arena : arenas) {
      if (arena.name == "staging") {
        const int64_t shard_bytes = 3 * num_parameters(job.model) * 4 / 2;
        const int64_t copied_bytes = arena.bytes - of_cpu.at(arena.name);
        EXPECT_GT(copied_bytes, shard_bytes) << zero;
        EXPECT_LT(copied_bytes, shard_bytes + shard_bytes / 4) << zero;
      } else if (arena.name != "scratch") {  // workspaces are the kernels' own
        EXPECT_EQ(arena.bytes, of_cpu.at(arena.name)) << arena.name;
      }
    }
  }
}

// Masters lie with the moments and are sharded as they are; what is computed with is half as large.
TEST(LayoutMemoryTest, Bf16HalvesWhatIsComputedWithAndKeepsMasters) {
  for (const int zero : {0, 1, 3}) {
    MemoryLayout layout{.data = 4, .zero = zero};
    const auto fp32 = forecast(memory_job(layout), 4, 0);
    layout.precision = DType::kBf16;
    const auto bf16 = forecast(memory_job(layout), 4, 0);
    EXPECT_EQ(2 * bf16.at("parameters"), fp32.at("parameters")) << zero;
    EXPECT_EQ(bf16.at("gradients"), fp32.at("gradients")) << zero;
    EXPECT_LT(bf16.at("activations"), 0.6 * static_cast<double>(fp32.at("activations"))) << zero;
    const int64_t masters = bf16.at("optimizer") - fp32.at("optimizer");
    // Under ZeRO 3 the weights' arena holds units besides the shard.
    if (zero < 3) {
      EXPECT_EQ((zero == 0 ? 1 : 4) * masters, fp32.at("parameters"));
    } else {
      EXPECT_GT(masters, 0);
    }
  }
}

TEST(LayoutMemoryTest, ZeRO3HoldsShards) {
  const auto one = forecast(memory_job({.zero = 3}), 1, 0);
  const auto four = forecast(memory_job({.data = 4, .zero = 3}), 4, 0);
  // Weights: a quarter, and two units of 198,000 parameters.
  const int64_t block = 4 * (12 * 128 * 128 + 13 * 128);
  const double padding = 1.15;  // to chunks of 4096 elements on each of four ranks
  EXPECT_LE(static_cast<double>(four.at("parameters")),
            padding * (static_cast<double>(one.at("parameters")) / 4 + 2.0 * block));
  EXPECT_LE(static_cast<double>(four.at("optimizer")),
            padding * static_cast<double>(one.at("optimizer")) / 4);
  // Gradients of one whole buffer, which the fast reduction has on one rank.
  const MemoryLayout fast_one{.zero = 3, .reduction = Reduction::kFast};
  const auto whole = static_cast<double>(forecast(memory_job(fast_one), 1, 0).at("gradients"));
  EXPECT_LE(static_cast<double>(four.at("gradients")), padding * whole * (std::log2(8) + 1) / 4);
  const MemoryLayout fast{.data = 4, .zero = 3, .reduction = Reduction::kFast};
  EXPECT_LE(static_cast<double>(forecast(memory_job(fast), 4, 0).at("gradients")),
            padding * whole / 4);
}

TEST(LayoutMemoryTest, ActivationsOf1F1BAreBoundedByTheDepth) {
  const MemoryLayout layout{.pipeline = 4};
  for (int stage = 0; stage < 4; ++stage) {
    const int64_t few = forecast(memory_job(layout, 8), 4, stage).at("activations");
    EXPECT_EQ(forecast(memory_job(layout, 64), 4, stage).at("activations"), few) << stage;
    const MemoryLayout gpipe{.pipeline = 4, .schedule = PipelineSchedule::kGpipe};
    EXPECT_GT(forecast(memory_job(gpipe, 64), 4, stage).at("activations"), 7 * few) << stage;
  }
}

}  // namespace
}  // namespace leasehold
