// Nothing allocates inside a step: everything was taken by Engine::create.
#include <gtest/gtest.h>

#include "collectives/self.h"
#include "collectives/threads.h"
#include "tests/collectives/counting_new.h"
#include "tests/support/small_job.h"
#include "tests/support/temporary_directory.h"

namespace leasehold {
namespace {

class AllocationTest : public testing::TestWithParam<int> {};

TEST_P(AllocationTest, AStepAllocatesNothing) {
  const TemporaryDirectory directory;
  write_random_tokens(directory / "train.bin", 4000, 61, 5);
  SmallJob job;
  job.device.num_threads = GetParam();
  const auto world = create_self_communicator("world");
  SmallRank rank(job, directory / "train.bin", *world);
  for (int64_t step = 0; step < 2; ++step) rank.engine().run_step(step, rank.loader(), {}).value();
  const int64_t before = num_allocations();
  for (int64_t step = 2; step < 5; ++step) {
    const auto result = rank.engine().run_step(step, rank.loader(), {});
    ASSERT_TRUE(result.ok());
  }
  EXPECT_EQ(num_allocations() - before, 0);
}

struct AllocationLayout {
  int data, pipeline, chunks, zero, tensor;
  DType precision = DType::kF32;
};

class LayoutAllocationTest : public testing::TestWithParam<AllocationLayout> {};

// Counted over all ranks, which begin and end together.
TEST_P(LayoutAllocationTest, AStepAllocatesNothing) {
  const AllocationLayout& layout = GetParam();
  const TemporaryDirectory directory;
  write_random_tokens(directory / "train.bin", 4000, 60, 5);
  SmallJob job;
  job.model.vocab = 60;
  job.model.layers = 4;
  job.options.zero_stage = layout.zero;
  job.options.num_chunks = layout.chunks;
  job.pipeline = layout.pipeline;
  job.tensor = layout.tensor;
  job.precision = layout.precision;
  run_ranks(layout.data * layout.pipeline * layout.tensor, {}, [&](Communicator& world) {
    SmallRank rank(job, directory / "train.bin", world);
    float value = 0;
    const auto meet = [&] {
      throw_if_error(world.all_reduce({&value, DType::kF32, {1}}, ReduceOp::kSum, rank.stream())
                         .wait(Deadline::after_s(60)));
    };
    const auto run = [&](int64_t begin, int64_t end) {
      for (int64_t step = begin; step < end; ++step)
        throw_if_error(rank.engine().run_step(step, rank.loader(), {}).status());
    };
    run(0, 3);
    meet();
    const int64_t before = num_allocations();
    meet();
    run(3, 6);
    meet();
    EXPECT_EQ(num_allocations() - before, 0);
    meet();
  });
}

INSTANTIATE_TEST_SUITE_P(
    Layouts, LayoutAllocationTest,
    testing::Values(AllocationLayout{1, 1, 1, 0, 2}, AllocationLayout{2, 1, 1, 2, 1},
                    AllocationLayout{2, 1, 1, 3, 1}, AllocationLayout{1, 2, 1, 0, 1},
                    AllocationLayout{1, 2, 2, 0, 1}, AllocationLayout{2, 2, 1, 3, 1},
                    AllocationLayout{2, 1, 1, 1, 2, DType::kBf16},
                    AllocationLayout{2, 2, 1, 3, 1, DType::kBf16}));

INSTANTIATE_TEST_SUITE_P(Threads, AllocationTest, testing::Values(1, 2));

}  // namespace
}  // namespace leasehold
