#include "runtime/comm/lanes.h"

#include <algorithm>
#include <bit>
#include <gtest/gtest.h>

#include "runtime/comm/tree.h"

namespace leasehold {
namespace {

std::vector<LaneRange> runs_of(int64_t num_lanes, int num_ranks) {
  return assign_lanes(num_lanes, num_ranks).value();
}

int64_t longest_of(const std::vector<LaneRange>& runs) {
  int64_t longest = 0;
  for (const LaneRange& run : runs) longest = std::max(longest, run.count());
  return longest;
}

size_t roots_of(const std::vector<LaneRange>& runs, int64_t num_lanes) {
  size_t roots = 0;
  for (const LaneRange& run : runs) roots += cover(run.begin, run.end, num_lanes).size();
  return roots;
}

TEST(AssignLanes, EveryRankGetsANonEmptyRunOfFairLength) {
  for (int64_t num_lanes = 1; num_lanes <= 150; ++num_lanes) {
    for (int num_ranks = 1; num_ranks <= num_lanes; ++num_ranks) {
      const std::vector<LaneRange> runs = runs_of(num_lanes, num_ranks);
      ASSERT_EQ(runs.size(), static_cast<size_t>(num_ranks));
      int64_t next = 0;
      for (const LaneRange& run : runs) {
        ASSERT_EQ(run.begin, next);
        ASSERT_GT(run.count(), 0);
        next = run.end;
      }
      ASSERT_EQ(next, num_lanes);
      const int64_t shortest = (num_lanes + num_ranks - 1) / num_ranks;
      ASSERT_LE(longest_of(runs), shortest + shortest / 8)
          << num_lanes << " lanes, " << num_ranks << " ranks";
    }
  }
}

TEST(AssignLanes, PowersOfTwoGetOneNodeEach) {
  for (const int64_t num_lanes : {1, 2, 4, 8, 16, 64, 256}) {
    for (int num_ranks = 1; num_ranks <= num_lanes; num_ranks *= 2) {
      const std::vector<LaneRange> runs = runs_of(num_lanes, num_ranks);
      EXPECT_EQ(longest_of(runs), num_lanes / num_ranks);
      EXPECT_EQ(roots_of(runs, num_lanes), static_cast<size_t>(num_ranks));
    }
  }
}

TEST(AssignLanes, BordersMoveToAlignedPlacesWhereThatIsFree) {
  // ceil(16 / 5) = 4: whole nodes of four and of two.
  const std::vector<LaneRange> runs = runs_of(16, 5);
  EXPECT_EQ(longest_of(runs), 4);
  EXPECT_LE(roots_of(runs, 16), 6U);
  EXPECT_EQ(runs_of(7, 2), (std::vector<LaneRange>{{0, 4}, {4, 7}}));
}

TEST(AssignLanes, ALongestRunGrowsOnlyForFewerRoots) {
  bool grew = false;
  for (int64_t num_lanes = 1; num_lanes <= 150; ++num_lanes) {
    for (int num_ranks = 1; num_ranks <= num_lanes; ++num_ranks) {
      const std::vector<LaneRange> runs = runs_of(num_lanes, num_ranks);
      const int64_t shortest = (num_lanes + num_ranks - 1) / num_ranks;
      if (longest_of(runs) == shortest) continue;
      grew = true;
      // An even cut, rounded to nothing, has more roots to send.
      std::vector<LaneRange> even;
      for (int r = 0; r < num_ranks; ++r)
        even.push_back({r * num_lanes / num_ranks, (r + 1) * num_lanes / num_ranks});
      ASSERT_LT(roots_of(runs, num_lanes), roots_of(even, num_lanes))
          << num_lanes << " lanes, " << num_ranks;
    }
  }
  EXPECT_TRUE(grew) << "36 lanes on 4 ranks, for one, are better cut as 8, 8, 10, 10";
}

// The fewest roots that runs of at most `longest` lanes can have, by trying every cut.
size_t fewest_roots(int64_t num_lanes, int num_ranks, int64_t longest) {
  constexpr size_t kNone = 1000000;
  std::vector<size_t> fewest(static_cast<size_t>(num_lanes) + 1, kNone);
  fewest[0] = 0;
  for (int rank = 0; rank < num_ranks; ++rank) {
    std::vector<size_t> next(fewest.size(), kNone);
    for (int64_t begin = 0; begin < num_lanes; ++begin) {
      for (int64_t end = begin + 1; end <= std::min(num_lanes, begin + longest); ++end) {
        const size_t roots =
            fewest[static_cast<size_t>(begin)] + cover(begin, end, num_lanes).size();
        next[static_cast<size_t>(end)] = std::min(next[static_cast<size_t>(end)], roots);
      }
    }
    fewest = std::move(next);
  }
  return fewest.back();
}

TEST(AssignLanes, RootsAreFewOrNearlySo) {
  int exact = 0;
  int cases = 0;
  for (int64_t num_lanes = 1; num_lanes <= 40; ++num_lanes) {
    for (int num_ranks = 1; num_ranks <= num_lanes; ++num_ranks) {
      const size_t fewest =
          fewest_roots(num_lanes, num_ranks, (num_lanes + num_ranks - 1) / num_ranks);
      const size_t roots = roots_of(runs_of(num_lanes, num_ranks), num_lanes);
      ASSERT_LE(roots, fewest + 3) << num_lanes << " lanes, " << num_ranks << " ranks";
      exact += roots <= fewest;
      ++cases;
    }
  }
  EXPECT_GE(exact, cases * 97 / 100) << exact << " of " << cases;
}

TEST(AssignLanes, ALargeJobIsQuick) {
  const std::vector<LaneRange> runs = runs_of(65536, 1000);
  EXPECT_LE(longest_of(runs), 74);
}

TEST(AssignLanes, MoreRanksThanLanesAreRefused) {
  for (const int ranks : {5, 100}) {
    const auto runs = assign_lanes(4, ranks);
    ASSERT_FALSE(runs.ok());
    EXPECT_EQ(runs.status().code(), Code::kBadConfig);
    EXPECT_NE(runs.status().message().find("batch.lanes"), std::string::npos)
        << runs.status().message();
  }
  EXPECT_FALSE(assign_lanes(4, 0).ok());
  EXPECT_FALSE(assign_lanes(0, 1).ok());
}

}  // namespace
}  // namespace leasehold
