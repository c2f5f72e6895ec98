#include "runtime/data/loader.h"

#include <fstream>
#include <gtest/gtest.h>
#include <map>
#include <numeric>
#include <rapidcheck.h>
#include <set>

#include "tests/support/temporary_directory.h"

namespace leasehold {
namespace {

bool is_bijection(uint64_t size, uint64_t key) {
  std::vector<bool> seen(size, false);
  for (uint64_t i = 0; i < size; ++i) {
    const uint64_t image = permute(i, size, key);
    if (image >= size || seen[image]) return false;
    seen[image] = true;
  }
  return true;
}

TEST(Permute, IsABijectionForEverySmallSize) {
  for (uint64_t size = 1; size <= 300; ++size) {
    for (uint64_t key = 0; key < 8; ++key) {
      ASSERT_TRUE(is_bijection(size, key)) << size << " under key " << key;
    }
  }
}

TEST(Permute, IsABijectionForAnySizeAndKey) {
  EXPECT_TRUE(rc::check("bijection", [] {
    const auto size = *rc::gen::inRange<uint64_t>(1, 70000);
    const auto key = *rc::gen::arbitrary<uint64_t>();
    RC_ASSERT(is_bijection(size, key));
  }));
}

TEST(Permute, StaysInsideHugeSizes) {
  for (const uint64_t size : {(uint64_t{1} << 32) - 1, uint64_t{1} << 32, (uint64_t{1} << 32) + 1,
                              uint64_t{1} << 62, (uint64_t{1} << 62) + 1, ~uint64_t{0}}) {
    std::set<uint64_t> images;
    for (uint64_t i = 0; i < 1000; ++i) {
      const uint64_t image = permute(size - 1 - i, size, 5);
      ASSERT_LT(image, size);
      images.insert(image);
    }
    EXPECT_EQ(images.size(), 1000u);
  }
}

// Every image of index 0 is about equally frequent over the keys: chi-squared with 15 degrees of
// freedom, whose 99.99% point is 44.3. The keys are fixed, so this passes always or never.
TEST(Permute, SpreadsEvenlyOverKeys) {
  constexpr int kSize = 16;
  constexpr int kKeys = 16000;
  for (uint64_t index = 0; index < kSize; ++index) {
    std::vector<int> counts(kSize, 0);
    for (uint64_t key = 0; key < kKeys; ++key) ++counts[permute(index, kSize, key)];
    constexpr double kExpected = double{kKeys} / kSize;
    double chi2 = 0;
    for (const int count : counts) chi2 += (count - kExpected) * (count - kExpected) / kExpected;
    EXPECT_LT(chi2, 44.3) << "index " << index;
  }
}

// Neighbours in the order are not neighbours in the file, except for about one pair in `size`, by
// chance.
TEST(Permute, BreaksUpNeighbours) {
  constexpr uint64_t kSize = 10007;
  int neighbours = 0;
  for (uint64_t i = 0; i + 1 < kSize; ++i) {
    neighbours += permute(i + 1, kSize, 9) == permute(i, kSize, 9) + 1;
  }
  EXPECT_LT(neighbours, 10);
}

// The order of the data is part of a job, so these values must never change.
TEST(Permute, GoldenValues) {
  std::vector<uint64_t> images;
  for (uint64_t i = 0; i < 8; ++i) images.push_back(permute(i, 1000, 42));
  EXPECT_EQ(images, (std::vector<uint64_t>{164, 712, 928, 942, 856, 505, 964, 492}));
}

// 10 windows of 4 and a rest: token i is i.
class WindowLoaderTest : public ::testing::Test {
 protected:
  WindowLoader open(int64_t num_tokens, uint64_t seed = 1) {
    return WindowLoader::create(file(num_tokens), 4, 1000, seed).value();
  }

  TokenFile file(int64_t num_tokens) {
    const std::string path = directory_ / "t.bin";
    std::vector<uint16_t> tokens(static_cast<size_t>(num_tokens));
    std::iota(tokens.begin(), tokens.end(), uint16_t{0});
    std::ofstream out(path, std::ios::binary);
    out << make_token_header(num_tokens, 2);
    out.write(reinterpret_cast<const char*>(tokens.data()), static_cast<long>(tokens.size() * 2));
    out.close();
    return TokenFile::open(posix_files(), path).value();
  }

  static int32_t first_token(const WindowLoader& loader, uint64_t index) {
    std::vector<int32_t> tokens(4), targets(4);
    EXPECT_TRUE(loader.sample(index, tokens, targets).ok());
    return tokens[0];
  }

  // Returns the windows of one epoch, in the order of its samples.
  static std::vector<int32_t> epoch(const WindowLoader& loader, uint64_t number) {
    const uint64_t size = static_cast<uint64_t>(loader.num_windows());
    std::vector<int32_t> windows;
    for (uint64_t i = 0; i < size; ++i) {
      windows.push_back(first_token(loader, number * size + i) / 4);
    }
    return windows;
  }

  TemporaryDirectory directory_;
};

TEST_F(WindowLoaderTest, TargetsAreTheTokensMovedByOne) {
  const WindowLoader loader = open(44);
  EXPECT_EQ(loader.num_windows(), 10);
  std::vector<int32_t> tokens(4), targets(4);
  ASSERT_TRUE(loader.window(9, tokens, targets).ok());
  EXPECT_EQ(tokens, (std::vector<int32_t>{36, 37, 38, 39}));
  EXPECT_EQ(targets, (std::vector<int32_t>{37, 38, 39, 40}));
}

TEST_F(WindowLoaderTest, CountsWindowsThatHaveTheirLastTarget) {
  EXPECT_EQ(open(5).num_windows(), 1);
  EXPECT_EQ(open(8).num_windows(), 1);
  EXPECT_EQ(open(9).num_windows(), 2);
}

TEST_F(WindowLoaderTest, RefusesAFileWithoutAWindow) {
  for (const int64_t num_tokens : {0, 1, 4}) {
    const Status status = WindowLoader::create(file(num_tokens), 4, 1000, 1).status();
    EXPECT_EQ(status.code(), Code::kBadData);
    EXPECT_NE(status.message().find("t.bin"), std::string::npos) << status.message();
    EXPECT_NE(status.message().find("model.sequence"), std::string::npos) << status.message();
  }
}

TEST_F(WindowLoaderTest, EveryEpochHasEveryWindowOnceInAnotherOrder) {
  const WindowLoader loader = open(401);
  std::vector<int32_t> all(100);
  std::iota(all.begin(), all.end(), 0);
  std::set<std::vector<int32_t>> orders;
  for (uint64_t number = 0; number < 5; ++number) {
    std::vector<int32_t> order = epoch(loader, number);
    orders.insert(order);
    std::sort(order.begin(), order.end());
    EXPECT_EQ(order, all) << "epoch " << number;
  }
  EXPECT_EQ(orders.size(), 5u);
}

TEST_F(WindowLoaderTest, TheSeedDecidesTheOrder) {
  EXPECT_EQ(epoch(open(401, 7), 0), epoch(open(401, 7), 0));
  EXPECT_NE(epoch(open(401, 7), 0), epoch(open(401, 8), 0));
}

TEST_F(WindowLoaderTest, AnswersSamplesFarAway) {
  const WindowLoader loader = open(401);
  const uint64_t far = (uint64_t{1} << 60) + 3;
  EXPECT_LT(first_token(loader, far), 401);
}

TEST_F(WindowLoaderTest, ReportsIdsOutsideTheVocabularyAlsoInTargets) {
  const WindowLoader loader = WindowLoader::create(file(9), 4, 8, 1).value();
  std::vector<int32_t> tokens(4), targets(4);
  EXPECT_TRUE(loader.window(0, tokens, targets).ok());
  const Status status = loader.window(1, tokens, targets);  // tokens 4..7, targets 5..8
  EXPECT_EQ(status.code(), Code::kBadData);
  EXPECT_NE(status.message().find("token 8 is 8"), std::string::npos) << status.message();
}

TEST_F(WindowLoaderTest, RefusesSpansOfAnotherLength) {
  const WindowLoader loader = open(44);
  std::vector<int32_t> three(3), four(4);
  EXPECT_THROW((void)loader.window(0, three, four), StatusError);
  EXPECT_THROW((void)loader.window(0, four, three), StatusError);
  EXPECT_THROW((void)loader.window(10, four, four), StatusError);
  EXPECT_THROW((void)loader.window(-1, four, four), StatusError);
}

}  // namespace
}  // namespace leasehold
