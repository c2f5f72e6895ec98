// Ranks that were given another job, other data or another program are found before the first step.
#include "runtime/train/agreed_start.h"

#include <gtest/gtest.h>

#include "collectives/threads.h"
#include "runtime/base/rank_list.h"
#include "runtime/device/cpu_device.h"

namespace leasehold {
namespace {

using Facts = std::vector<StartFact>;

TEST(AgreedStart, NamesTheFirstFactThatDiffers) {
  const Facts mine = {{"seed", "1"}, {"lr", "0.1"}};
  EXPECT_EQ(first_difference(mine, mine, 0), "");
  EXPECT_EQ(first_difference(mine, Facts{{"seed", "1"}, {"lr", "0.2"}}, 3),
            "lr is 0.1 here and 0.2 on rank 3");
  EXPECT_EQ(first_difference(mine, Facts{{"lr", "0.1"}}, 0), "seed is not known on rank 0");
  EXPECT_EQ(first_difference(Facts{{"lr", "0.1"}}, mine, 2),
            "seed is known on rank 2 and not here");
  EXPECT_EQ(first_difference(Facts{{"lr", ""}}, Facts{{"lr", "0"}}, 0),
            "lr is  here and 0 on rank 0");
}

TEST(AgreedStart, MostNodesAreRight) {
  const auto rank = [](const std::vector<std::string>& facts,
                       const std::vector<std::string>& nodes) {
    return majority_rank(facts, nodes);
  };
  EXPECT_EQ(rank({"x"}, {"a"}), 0);
  EXPECT_EQ(rank({"x", "y"}, {"a", "b"}), 0) << "of two nobody knows";
  EXPECT_EQ(rank({"y", "x"}, {"a", "b"}), 0);
  EXPECT_EQ(rank({"x", "y", "y"}, {"a", "b", "c"}), 1);
  EXPECT_EQ(rank({"x", "y", "y", "x"}, {"a", "b", "c", "d"}), 0);
  EXPECT_EQ(rank({"x", "x", "x", "y", "y"}, {"a", "a", "a", "b", "c"}), 3) << "two nodes of three";
  EXPECT_EQ(rank({"x", "y", "y"}, {"a", "b", "b"}), 1) << "as many nodes, more ranks";
}

// Runs compare_start on a world of threads whose rank `odd` has another value of `name`.
std::vector<Status> compare_with(int num_ranks, int odd, const std::string& name) {
  std::vector<Status> results(static_cast<size_t>(num_ranks));
  run_ranks(num_ranks, {}, [&](Communicator& world) {
    const auto device = CpuDevice::create({});
    const auto stream = device->create_stream("start").value();
    Facts facts = {{"the digest of data.train", "aa"}, {"batch.sequences", "8"}, {"empty", ""}};
    for (StartFact& fact : facts) {
      if (world.rank() == odd && fact.name == name) fact.value = "another";
    }
    results[static_cast<size_t>(world.rank())] =
        compare_start(facts, "n" + std::to_string(world.rank()), world, *stream, 30);
  });
  return results;
}

TEST(AgreedStart, EveryRankHearsWhichOneDiffers) {
  for (const Status& status : compare_with(4, -1, "")) EXPECT_TRUE(status.ok()) << status.message();
  for (const std::string name : {"the digest of data.train", "batch.sequences", "empty"}) {
    for (const int odd : {1, 3}) {
      for (const Status& status : compare_with(4, odd, name)) {
        EXPECT_EQ(status.code(), Code::kBadConfig);
        EXPECT_NE(status.message().find("node n" + std::to_string(odd)), std::string::npos)
            << status.message();
        EXPECT_NE(status.message().find(name), std::string::npos) << status.message();
      }
    }
  }
}

TEST(AgreedStart, AnOddRank0IsTheOddOne) {
  for (const Status& status : compare_with(3, 0, "batch.sequences")) {
    EXPECT_EQ(status.code(), Code::kBadConfig);
    EXPECT_NE(status.message().find("node n0: batch.sequences is another here and 8 on rank 1"),
              std::string::npos)
        << status.message();
    EXPECT_EQ(ranks_named(status.message()), std::vector<int>{0}) << status.message();
  }
}

}  // namespace
}  // namespace leasehold
