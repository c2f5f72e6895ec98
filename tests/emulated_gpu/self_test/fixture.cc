#include "tests/emulated_gpu/self_test/fixture.h"

#include <numeric>

namespace leasehold::self_test {

void EmulationTest::SetUp() {
  emulation::reset();
  emulation::set_seed(0);
  (void)emulation::take_reports();
  ASSERT_EQ(cudaSetDevice(0), cudaSuccess);
}

void EmulationTest::TearDown() {
  EXPECT_EQ(emulation::take_reports(), "");
  for (cudaStream_t stream : streams_) {
    EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
    EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
  }
  for (cudaEvent_t event : events_) EXPECT_EQ(cudaEventDestroy(event), cudaSuccess);
  for (void* memory : memory_) EXPECT_EQ(cudaFree(memory), cudaSuccess);
}

cudaStream_t EmulationTest::stream() {
  cudaStream_t made = nullptr;
  EXPECT_EQ(cudaStreamCreateWithFlags(&made, cudaStreamNonBlocking), cudaSuccess);
  streams_.push_back(made);
  return made;
}

cudaEvent_t EmulationTest::event(unsigned flags) {
  cudaEvent_t made = nullptr;
  EXPECT_EQ(cudaEventCreateWithFlags(&made, flags), cudaSuccess);
  events_.push_back(made);
  return made;
}

void* EmulationTest::device_bytes(int64_t bytes) {
  void* made = nullptr;
  EXPECT_EQ(cudaMalloc(&made, static_cast<size_t>(bytes)), cudaSuccess);
  memory_.push_back(made);
  return made;
}

float* EmulationTest::counting(int64_t n) {
  std::vector<float> values(static_cast<size_t>(n));
  std::iota(values.begin(), values.end(), 0.0F);
  auto* made = device<float>(n);
  cudaStream_t on = stream();
  EXPECT_EQ(cudaMemcpyAsync(made, values.data(), values.size() * sizeof(float),
                            cudaMemcpyHostToDevice, on),
            cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(on), cudaSuccess);
  return made;
}

std::string EmulationTest::recover() {
  for (cudaStream_t stream : streams_) (void)cudaStreamSynchronize(stream);
  emulation::reset();
  return emulation::take_reports();
}

}  // namespace leasehold::self_test
