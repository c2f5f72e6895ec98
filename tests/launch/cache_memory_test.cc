#include "launch/cache_memory.h"

#include <gtest/gtest.h>

namespace leasehold {
namespace {

TEST(CacheMemory, WhatDoesNotFitIsRefusedWithBothSizes) {
  const int64_t gib = int64_t{1} << 30;
  EXPECT_TRUE(check_cache_fits(1000, gib, gib).ok());
  const Status refused = check_cache_fits(131072, 34 * gib, 3 * gib / 2);
  EXPECT_EQ(refused.code(), Code::kBadConfig);
  for (const char* words : {"131072 positions", "34.0 GiB", "1.5 GiB", "--tokens"})
    EXPECT_NE(refused.message().find(words), std::string::npos) << refused.message();
}

TEST(CacheMemory, TheSystemSaysHowMuchThereIs) {
  EXPECT_GT(available_memory_bytes(), int64_t{1} << 20);
  EXPECT_LT(available_memory_bytes(), int64_t{1} << 50);
}

}  // namespace
}  // namespace leasehold
