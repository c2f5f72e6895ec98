// What the emulation's tests share: memory, streams and events that clean up, on device 0 with a
// given seed, and the text of what the emulation reported.
#pragma once

#include <cstdint>
#include <cuda_runtime.h>
#include <gtest/gtest.h>
#include <string>
#include <vector>

#include "tests/emulated_gpu/emulation.h"

namespace leasehold::self_test {

class EmulationTest : public testing::Test {
 protected:
  void SetUp() override;
  // Fails the test if something was reported that it did not take.
  void TearDown() override;

  cudaStream_t stream();  // a new one
  cudaEvent_t event(unsigned flags = cudaEventDisableTiming);
  template <typename T>
  T* device(int64_t n) {
    return static_cast<T*>(device_bytes(n * static_cast<int64_t>(sizeof(T))));
  }
  // On device, filled with 0, 1, 2 ...
  float* counting(int64_t n);
  template <typename T>
  std::vector<T> host(const T* from, int64_t n, cudaStream_t on) {
    std::vector<T> read(static_cast<size_t>(n));
    EXPECT_EQ(cudaMemcpyAsync(read.data(), from, n * sizeof(T), cudaMemcpyDeviceToHost, on),
              cudaSuccess);
    EXPECT_EQ(cudaStreamSynchronize(on), cudaSuccess);
    return read;
  }
  // Ends the fault that a test provoked; returns what was reported.
  std::string recover();

 private:
  void* device_bytes(int64_t bytes);

  std::vector<cudaStream_t> streams_;
  std::vector<cudaEvent_t> events_;
  std::vector<void*> memory_;
};

}  // namespace leasehold::self_test
