#include "launch/cache_memory.h"

#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>

#include "tests/support/temporary_directory.h"

namespace leasehold {
namespace {

void put(const std::string& path, const std::string& content) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  std::ofstream(path) << content;
}

TEST(CacheMemory, WhatDoesNotFitIsRefusedWithBothSizes) {
  const int64_t gib = int64_t{1} << 30;
  EXPECT_TRUE(check_cache_fits(1000, gib, gib).ok());
  const Status refused = check_cache_fits(131072, 34 * gib, 3 * gib / 2);
  EXPECT_EQ(refused.code(), Code::kBadConfig);
  for (const char* words : {"131072 positions", "34.0 GiB", "1.5 GiB", "--tokens"})
    EXPECT_NE(refused.message().find(words), std::string::npos) << refused.message();
}

// A container's limit ends a program long before the machine's memory is full.
TEST(CacheMemory, TheLimitOfAControlGroupCounts) {
  const TemporaryDirectory directory;
  const std::string root = directory.path();
  EXPECT_EQ(available_memory_bytes(root), std::numeric_limits<int64_t>::max());
  put(root + "/proc/meminfo", "MemTotal: 2000 kB\nMemAvailable:    1000 kB\n");
  EXPECT_EQ(available_memory_bytes(root), 1024000);
  put(root + "/proc/self/cgroup", "0::/job/step\n");
  EXPECT_EQ(available_memory_bytes(root), 1024000);
  const std::string groups = root + "/sys/fs/cgroup";
  put(groups + "/job/step/memory.max", "max\n");
  put(groups + "/job/step/memory.current", "5\n");
  EXPECT_EQ(available_memory_bytes(root), 1024000);
  put(groups + "/job/memory.max", "5000\n");
  put(groups + "/job/memory.current", "4000\n");
  EXPECT_EQ(available_memory_bytes(root), 1000);
  put(groups + "/memory.max", "900\n");  // the mount inside a container
  put(groups + "/memory.current", "1000\n");
  EXPECT_EQ(available_memory_bytes(root), 0);
  std::filesystem::remove_all(groups);
  put(root + "/proc/self/cgroup", "9:cpu,memory:/slurm/7\n4:pids:/x\n0::/\n");
  put(groups + "/memory/slurm/7/memory.limit_in_bytes", "700\n");
  put(groups + "/memory/slurm/7/memory.usage_in_bytes", "100\n");
  EXPECT_EQ(available_memory_bytes(root), 600);
}

TEST(CacheMemory, TheSystemSaysHowMuchThereIs) {
  EXPECT_GT(available_memory_bytes(), int64_t{1} << 20);
  EXPECT_LT(available_memory_bytes(), int64_t{1} << 50);
}

}  // namespace
}  // namespace leasehold
