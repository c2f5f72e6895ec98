// Ranks' choices put together. Ranks that really choose are in algorithms_gpu_test.cc.
#include "runtime/train/agreed_algorithms.h"

#include <gtest/gtest.h>

#include "collectives/threads.h"
#include "runtime/device/cpu_device.h"

namespace leasehold {
namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

MergedAlgorithms merged(const std::vector<std::string>& texts) {
  std::vector<DistinctText> of_ranks;
  for (int rank = 0; rank < std::ssize(texts); ++rank) {
    of_ranks.push_back({.rank = rank,
                        .text = texts[static_cast<size_t>(rank)],
                        .node = std::string(1, static_cast<char>('a' + rank))});
  }
  return merge_algorithms(of_ranks).value();
}

TEST(MergedAlgorithms, AreTheUnion) {
  const MergedAlgorithms all =
      merged({"algorithms of x\nforward 2 = 2\n", "algorithms of x\nforward 1 = 1\n",
              "algorithms of x\nforward 1 = 1\nforward 2 = 2\n"});
  EXPECT_EQ(all.choices.to_text(), "algorithms of x\nforward 1 = 1\nforward 2 = 2\n");
  EXPECT_EQ(all.mixed, "");
  EXPECT_EQ(all.differing, "");
}

TEST(MergedAlgorithms, TheLowestRankDecidesAndTheOtherIsNamed) {
  const MergedAlgorithms all =
      merged({"algorithms of x\nforward 2 = 2\n", "algorithms of x\nforward 1 = 1\n",
              "algorithms of x\nforward 1 = none\nforward 2 = 3\n"});
  EXPECT_EQ(all.choices.to_text(), "algorithms of x\nforward 1 = 1\nforward 2 = 2\n");
  EXPECT_TRUE(contains(all.differing, "rank 2 on node c")) << all.differing;
  EXPECT_TRUE(contains(all.differing, "product forward 1")) << all.differing;
}

TEST(MergedAlgorithms, AnotherLibraryIsNamed) {
  const MergedAlgorithms all = merged({"algorithms of x\nforward 2 = 2\n",
                                       "algorithms of y\nforward 2 = 1\n", "algorithms of y\n"});
  EXPECT_EQ(all.choices.to_text(),
            "algorithms of x\nforward 2 = 2\nalgorithms of y\nforward 2 = 1\n");
  EXPECT_EQ(all.mixed, "rank 1 on node b has y, rank 0 on node a has x");
  EXPECT_EQ(all.differing, "");
  EXPECT_EQ(merge_algorithms({{0, "x", "a"}}).status().code(), Code::kBadData);
}

TEST(AgreedAlgorithms, WhereNothingIsChosenThereIsNothingToAgreeOn) {
  run_ranks(2, {}, [](Communicator& world) {
    const auto device = CpuDevice::create({});
    const auto kernels = create_cpu_kernels(*device, DType::kF32);
    const auto stream = device->create_stream("test").value();
    AgreedAlgorithms agreed(*kernels, world, *stream, "a", false, 10,
                            [](const auto& name, const auto&) { ADD_FAILURE() << name; });
    EXPECT_FALSE(agreed.has_new());
    // One rank alone: nobody is waited for.
    if (world.rank() == 0) {
      EXPECT_FALSE(agreed.settle().value());
    }
    EXPECT_EQ(agreed.text(), "");
    EXPECT_FALSE(agreed.use("").value());
    const Status refused = agreed.use("algorithms of x\nforward 1 = 1\n").status();
    EXPECT_EQ(refused.code(), Code::kBadConfig);
    EXPECT_TRUE(contains(refused.message(), "algorithms of x")) << refused.message();
    EXPECT_TRUE(contains(refused.message(), "run.identity")) << refused.message();
  });
}

}  // namespace
}  // namespace leasehold
