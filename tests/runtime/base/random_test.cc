#include "runtime/base/random.h"

#include <cmath>
#include <gtest/gtest.h>
#include <set>
#include <vector>

namespace leasehold {
namespace {

using Block = std::array<uint32_t, 4>;

// Random123 1.14, tests/kat_vectors, "philox4x32 10".
TEST(Philox, KnownAnswers) {
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}),
            (Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  constexpr uint32_t kOnes = 0xffffffff;
  EXPECT_EQ(philox4x32({kOnes, kOnes, kOnes, kOnes}, {kOnes, kOnes}),
            (Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(RandomSite, ElementsAreTheWordsOfPhiloxBlocks) {
  const RandomSite site{0x299f31d0a4093822, 3, 7};
  for (const uint64_t block : {uint64_t{0}, uint64_t{5}, (uint64_t{9} << 32) + 1}) {
    const Block expected =
        philox4x32({static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32), 7, 3},
                   {0xa4093822, 0x299f31d0});
    EXPECT_EQ(site.block(block), expected);
    for (uint64_t i = 0; i < 4; ++i) {
      EXPECT_EQ(site.word(4 * block + i), expected[i]);
      EXPECT_EQ(site.uniform(4 * block + i), static_cast<float>(expected[i] >> 8) / 16777216.0F);
    }
  }
}

// These bits are part of every job's identity: they may never change.
TEST(RandomSite, BitsAreFixedForEver) {
  const RandomSite site = RandomSite::make(42, "blocks.0.attention.qkv.weight", 3, 1);
  EXPECT_EQ(site.step, 3U);
  EXPECT_EQ(site.microbatch, 1U);
  EXPECT_EQ(site.key, 0x7dc78f3360448a6bU);
  EXPECT_EQ(site.word(0), 0x011ca11bU);
  EXPECT_EQ(site.word(1000001), 0x1786ab1dU);
  EXPECT_EQ(site.normal(7), -0x1.863474p+0F);
}

TEST(RandomSite, EveryPartOfTheAddressMatters) {
  std::set<uint32_t> words;
  words.insert(RandomSite::make(1, "a", 1, 1).word(0));
  words.insert(RandomSite::make(2, "a", 1, 1).word(0));
  words.insert(RandomSite::make(1, "b", 1, 1).word(0));
  words.insert(RandomSite::make(1, "a", 2, 1).word(0));
  words.insert(RandomSite::make(1, "a", 1, 2).word(0));
  words.insert(RandomSite::make(1, "a", 1, 1).word(1));
  words.insert(RandomSite::make(1, "a", 1, 1).word(uint64_t{1} << 40));
  EXPECT_EQ(words.size(), 7U);
}

TEST(RandomSite, UniformIsUniformInTheHalfOpenUnitInterval) {
  const RandomSite site = RandomSite::make(11, "uniform");
  constexpr int kBins = 16;
  constexpr int kDraws = 160000;
  std::vector<int> counts(kBins);
  for (int i = 0; i < kDraws; ++i) {
    const float u = site.uniform(static_cast<uint64_t>(i));
    ASSERT_GE(u, 0.0F);
    ASSERT_LT(u, 1.0F);
    ++counts[static_cast<size_t>(u * kBins)];
  }
  double chi_squared = 0;
  constexpr double kExpected = static_cast<double>(kDraws) / kBins;
  for (const int count : counts) chi_squared += std::pow(count - kExpected, 2) / kExpected;
  EXPECT_LT(chi_squared, 37.7);  // 15 degrees of freedom, one in a thousand
}

TEST(RandomSite, NormalHasTheMomentsOfANormal) {
  const RandomSite site = RandomSite::make(5, "normal");
  constexpr int kDraws = 200000;
  double sum = 0, squares = 0, cubes = 0, fourths = 0, neighbours = 0, last = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double x = site.normal(static_cast<uint64_t>(i));
    ASSERT_TRUE(std::isfinite(x));
    sum += x;
    squares += x * x;
    cubes += x * x * x;
    fourths += x * x * x * x;
    neighbours += x * last;
    last = x;
  }
  // Five standard errors each.
  const double error = 5 / std::sqrt(kDraws);
  EXPECT_NEAR(sum / kDraws, 0, error);
  EXPECT_NEAR(squares / kDraws, 1, error * std::sqrt(2.0));
  EXPECT_NEAR(cubes / kDraws, 0, error * std::sqrt(15.0));
  EXPECT_NEAR(fourths / kDraws, 3, error * std::sqrt(96.0));
  EXPECT_NEAR(neighbours / kDraws, 0, error);
}

}  // namespace
}  // namespace leasehold
