// Host threads that touch device memory are caught, each in its way.

#include <algorithm>
#include <cstring>
#include <thread>

#include "tests/emulated_gpu/self_test/fixture.h"

namespace leasehold::self_test {
namespace {

class HostTouchTest : public EmulationTest {};
using HostTouchDeathTest = HostTouchTest;

TEST_F(HostTouchDeathTest, LoadsAndStores) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  auto* memory = device<float>(64);
  float value = 0;
  EXPECT_DEATH(value = memory[3], "reads 4 bytes of device memory");
  EXPECT_DEATH(memory[3] = value, "writes 4 bytes of device memory");
  auto* wide = reinterpret_cast<int64_t*>(memory);
  EXPECT_DEATH(*wide += 1, "reads 8 bytes");
}

TEST_F(HostTouchDeathTest, CopiesAndFills) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  auto* memory = device<char>(64);
  volatile size_t bytes = 64;
  std::vector<char> here(128);
  EXPECT_DEATH(memcpy(here.data(), memory, bytes), "device memory");
  EXPECT_DEATH(memmove(memory, here.data(), bytes), "device memory");
  EXPECT_DEATH(memset(memory, 0, bytes), "device memory");
  EXPECT_DEATH(std::copy(here.begin(), here.begin() + static_cast<int64_t>(bytes), memory),
               "device memory");
}

TEST_F(HostTouchDeathTest, OtherThreads) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  auto* memory = device<int>(1);
  EXPECT_DEATH(std::thread([&] { *memory = 1; }).join(), "writes 4 bytes");
}

TEST_F(HostTouchTest, StreamsAndPinnedMemoryMay) {
  class Touch : public emulation::HostWork {
   public:
    explicit Touch(int* at) : at_(at) {}
    cudaError_t run() override {
      *at_ = 7;
      return cudaSuccess;
    }

   private:
    int* at_;
  };
  cudaStream_t on = stream();
  auto* memory = device<int>(1);
  ASSERT_EQ(emulation::enqueue(on, new Touch(memory)), cudaSuccess);
  EXPECT_EQ(host(memory, 1, on)[0], 7);
  void* pinned = nullptr;
  ASSERT_EQ(cudaHostAlloc(&pinned, 4, cudaHostAllocMapped), cudaSuccess);
  *static_cast<int*>(pinned) = 1;
  EXPECT_EQ(cudaFreeHost(pinned), cudaSuccess);
}

}  // namespace
}  // namespace leasehold::self_test
