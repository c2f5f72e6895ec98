// Streams, events, memory and errors as programs see them.

#include <atomic>
#include <chrono>
#include <pthread.h>
#include <thread>

#include "runtime/base/status.h"
#include "tests/emulated_gpu/self_test/fixture.h"
#include "tests/emulated_gpu/self_test/kernels.h"

namespace leasehold::self_test {
namespace {

using emulation::HostWork;

class RuntimeTest : public EmulationTest {};

// Holds its stream until the test lets go.
class Gate : public HostWork {
 public:
  explicit Gate(std::atomic<bool>& open) : open_(open) {}
  cudaError_t run() override {
    EXPECT_TRUE(emulation::on_stream_thread());
    while (!open_) std::this_thread::yield();
    return cudaSuccess;
  }

 private:
  std::atomic<bool>& open_;
};

class Failing : public HostWork {
 public:
  cudaError_t run() override { return cudaErrorNvlinkUncorrectable; }
};

TEST_F(RuntimeTest, CallsReturnBeforeTheWorkIsDone) {
  std::atomic<bool> open = false;
  cudaStream_t held = stream();
  cudaEvent_t done = event();
  EXPECT_EQ(cudaEventQuery(done), cudaSuccess);  // nothing recorded
  ASSERT_EQ(emulation::enqueue(held, new Gate(open)), cudaSuccess);
  EXPECT_EQ(cudaEventRecord(done, held), cudaSuccess);
  EXPECT_EQ(cudaEventQuery(done), cudaErrorNotReady);
  EXPECT_EQ(cudaStreamQuery(held), cudaErrorNotReady);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);  // not ready is no error
  open = true;
  EXPECT_EQ(cudaEventSynchronize(done), cudaSuccess);
  EXPECT_EQ(cudaEventQuery(done), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(held), cudaSuccess);
  EXPECT_EQ(cudaStreamQuery(held), cudaSuccess);
}

// As a driver that loads lazily may: a program that counts on kernels running beside each other
// must have them loaded before.
TEST_F(RuntimeTest, AKernelsFirstLaunchWaitsForTheDevice) {
  std::atomic<bool> open = false, launched = false;
  cudaStream_t held = stream();
  cudaStream_t free = stream();
  ASSERT_EQ(emulation::enqueue(held, new Gate(open)), cudaSuccess);
  std::thread launching([&] {
    idle(free);
    launched = true;
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_FALSE(launched);
  open = true;
  launching.join();
  EXPECT_EQ(cudaStreamSynchronize(held), cudaSuccess);
  open = false;
  ASSERT_EQ(emulation::enqueue(held, new Gate(open)), cudaSuccess);
  idle(free);  // loaded by now
  EXPECT_EQ(cudaStreamSynchronize(free), cudaSuccess);
  open = true;
  EXPECT_EQ(cudaStreamSynchronize(held), cudaSuccess);
}

TEST_F(RuntimeTest, EventsOrderTheirNewestRecordAlone) {
  std::atomic<bool> open = false;
  std::atomic<bool> second_open = false;
  cudaStream_t first = stream();
  cudaStream_t second = stream();
  cudaEvent_t mark = event();
  ASSERT_EQ(emulation::enqueue(first, new Gate(open)), cudaSuccess);
  EXPECT_EQ(cudaEventRecord(mark, first), cudaSuccess);
  EXPECT_EQ(cudaStreamWaitEvent(second, mark, 0), cudaSuccess);
  // Recorded again: `second` still waits for the record of its call only.
  ASSERT_EQ(emulation::enqueue(first, new Gate(second_open)), cudaSuccess);
  EXPECT_EQ(cudaEventRecord(mark, first), cudaSuccess);
  EXPECT_EQ(cudaStreamQuery(second), cudaErrorNotReady);
  open = true;
  EXPECT_EQ(cudaStreamSynchronize(second), cudaSuccess);
  EXPECT_EQ(cudaEventQuery(mark), cudaErrorNotReady);
  second_open = true;
  EXPECT_EQ(cudaEventSynchronize(mark), cudaSuccess);
}

TEST_F(RuntimeTest, EventsMeasureTime) {
  cudaStream_t on = stream();
  cudaEvent_t start = event(cudaEventDefault);
  cudaEvent_t end = event(cudaEventDefault);
  std::atomic<bool> open = false;
  EXPECT_EQ(cudaEventRecord(start, on), cudaSuccess);
  ASSERT_EQ(emulation::enqueue(on, new Gate(open)), cudaSuccess);
  EXPECT_EQ(cudaEventRecord(end, on), cudaSuccess);
  float ms = -1;
  EXPECT_EQ(cudaEventElapsedTime(&ms, start, end), cudaErrorNotReady);
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  open = true;
  EXPECT_EQ(cudaEventSynchronize(end), cudaSuccess);
  EXPECT_EQ(cudaEventElapsedTime(&ms, start, end), cudaSuccess);
  EXPECT_GE(ms, 4.0F);
  EXPECT_EQ(cudaEventElapsedTime(&ms, event(), end), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidResourceHandle);
}

TEST_F(RuntimeTest, MemoryIsCountedLimitedAndReused) {
  size_t before = 0;
  size_t total = 0;
  EXPECT_EQ(cudaMemGetInfo(&before, &total), cudaSuccess);
  void* a = nullptr;
  void* b = nullptr;
  EXPECT_EQ(cudaMalloc(&a, 1000), cudaSuccess);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(a) % 256, 0);
  size_t after = 0;
  EXPECT_EQ(cudaMemGetInfo(&after, &total), cudaSuccess);
  EXPECT_EQ(before - after, 1000);
  EXPECT_EQ(cudaFree(a), cudaSuccess);
  EXPECT_EQ(cudaMalloc(&b, 1000), cudaSuccess);
  EXPECT_EQ(a, b);
  emulation::set_memory_limit(0, static_cast<int64_t>(total - after) + 2000);
  void* c = nullptr;
  EXPECT_EQ(cudaMalloc(&c, 2001), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaGetLastError(), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaMalloc(&c, 2000), cudaSuccess);
  EXPECT_EQ(cudaFree(b), cudaSuccess);
  EXPECT_EQ(cudaFree(c), cudaSuccess);
  EXPECT_EQ(cudaFree(c), cudaErrorInvalidValue);
  EXPECT_NE(emulation::take_reports().find("freed"), std::string::npos);
}

TEST_F(RuntimeTest, PinnedMemoryIsKnownAndMapped) {
  void* pinned = nullptr;
  void* seen = nullptr;
  ASSERT_EQ(cudaHostAlloc(&pinned, 4096, cudaHostAllocMapped), cudaSuccess);
  EXPECT_EQ(cudaHostGetDevicePointer(&seen, pinned, 0), cudaSuccess);
  cudaPointerAttributes attributes{};
  EXPECT_EQ(cudaPointerGetAttributes(&attributes, pinned), cudaSuccess);
  EXPECT_EQ(attributes.type, cudaMemoryTypeHost);
  EXPECT_EQ(cudaPointerGetAttributes(&attributes, &pinned), cudaSuccess);
  EXPECT_EQ(attributes.type, cudaMemoryTypeUnregistered);
  EXPECT_EQ(cudaPointerGetAttributes(&attributes, device<int>(1)), cudaSuccess);
  EXPECT_EQ(attributes.type, cudaMemoryTypeDevice);
  // A kernel writes it; the host reads it after a wait.
  cudaStream_t on = stream();
  add_one(counting(8), static_cast<float*>(seen), 8, 0, on);
  EXPECT_EQ(cudaStreamSynchronize(on), cudaSuccess);
  EXPECT_EQ(static_cast<float*>(pinned)[7], 8.0F);
  EXPECT_EQ(cudaFreeHost(pinned), cudaSuccess);
  EXPECT_EQ(cudaFreeHost(pinned), cudaErrorInvalidValue);
  EXPECT_NE(emulation::take_reports().find("cudaFreeHost"), std::string::npos);
}

TEST_F(RuntimeTest, CopiesCheckBothEnds) {
  cudaStream_t on = stream();
  auto* memory = device<float>(100);
  float host_memory[100] = {};
  const auto refused = [&](void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
    EXPECT_EQ(cudaMemcpyAsync(to, from, bytes, kind, on), cudaErrorInvalidValue);
    const std::string said = emulation::take_reports();
    EXPECT_NE(said, "");
    return said;
  };
  EXPECT_NE(refused(host_memory, memory, 400, cudaMemcpyHostToDevice).find("is host memory"),
            std::string::npos);
  EXPECT_NE(refused(memory, memory + 50, 200, cudaMemcpyHostToDevice).find("is device memory"),
            std::string::npos);
  EXPECT_NE(refused(memory, host_memory, 401, cudaMemcpyHostToDevice).find("reaches past"),
            std::string::npos);
  EXPECT_NE(refused(memory - 1, host_memory, 8, cudaMemcpyDefault).find("reaches past"),
            std::string::npos);
  EXPECT_EQ(cudaMemsetAsync(host_memory, 0, 4, on), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpyAsync(memory, host_memory, 4, cudaMemcpyDefault, nullptr),
            cudaErrorInvalidResourceHandle);
  EXPECT_NE(emulation::take_reports().find("default stream"), std::string::npos);
  EXPECT_THROW(add_one(memory, memory, 1, 0, nullptr), StatusError);
  EXPECT_NE(emulation::take_reports().find("default stream"), std::string::npos);
}

TEST_F(RuntimeTest, ThreadsDriveDevicesOfTheirOwn) {
  std::vector<std::thread> ranks;
  for (int rank = 0; rank < 3; ++rank) {
    ranks.emplace_back([rank] {
      ASSERT_EQ(cudaSetDevice(rank), cudaSuccess);
      cudaStream_t on = nullptr;
      ASSERT_EQ(cudaStreamCreateWithFlags(&on, cudaStreamNonBlocking), cudaSuccess);
      float* memory = nullptr;
      ASSERT_EQ(cudaMalloc(reinterpret_cast<void**>(&memory), 4096), cudaSuccess);
      EXPECT_EQ(emulation::device_of_memory(memory, 4096), rank);
      EXPECT_EQ(emulation::device_of_memory(memory, 4097), -1);
      EXPECT_EQ(cudaMemsetAsync(memory, 0, 4096, on), cudaSuccess);
      add_one(memory, memory, 1024, 0, on);
      float read = 0;
      EXPECT_EQ(cudaMemcpyAsync(&read, memory + 1023, 4, cudaMemcpyDefault, on), cudaSuccess);
      EXPECT_EQ(cudaStreamSynchronize(on), cudaSuccess);
      EXPECT_EQ(read, 1.0F);
      EXPECT_EQ(cudaFree(memory), cudaSuccess);
      EXPECT_EQ(cudaStreamDestroy(on), cudaSuccess);
    });
  }
  for (std::thread& rank : ranks) rank.join();
  cudaStream_t on = stream();
  EXPECT_EQ(cudaSetDevice(1), cudaSuccess);
  EXPECT_THROW(add_one(nullptr, nullptr, 1, 0, on), StatusError);
  EXPECT_NE(emulation::take_reports().find("of device 0 while device 1"), std::string::npos);
  EXPECT_EQ(cudaSetDevice(0), cudaSuccess);
  EXPECT_EQ(cudaSetDevice(99), cudaErrorInvalidDevice);
}

TEST_F(RuntimeTest, InjectedErrorsComeOnce) {
  emulation::fail_call("cudaHostAlloc", 2, cudaErrorMemoryAllocation);
  void* first = nullptr;
  void* second = nullptr;
  EXPECT_EQ(cudaHostAlloc(&first, 16, 0), cudaSuccess);
  EXPECT_EQ(cudaHostAlloc(&second, 16, 0), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaHostAlloc(&second, 16, 0), cudaSuccess);
  EXPECT_EQ(cudaFreeHost(first), cudaSuccess);
  EXPECT_EQ(cudaFreeHost(second), cudaSuccess);
}

TEST_F(RuntimeTest, AFaultSticksToItsDevice) {
  cudaStream_t on = stream();
  cudaEvent_t done = event();
  auto* in = counting(4);
  auto* out = device<float>(4);
  emulation::fault_at_launch(0, 2, cudaErrorECCUncorrectable);
  add_one(in, out, 4, 0, on);
  EXPECT_EQ(cudaStreamSynchronize(on), cudaSuccess);
  add_one(in, out, 4, 0, on);
  EXPECT_EQ(cudaStreamSynchronize(on), cudaErrorECCUncorrectable);
  // Everything fails from now on, and nothing hangs.
  EXPECT_EQ(cudaEventRecord(done, on), cudaErrorECCUncorrectable);
  EXPECT_EQ(cudaEventQuery(done), cudaErrorECCUncorrectable);
  EXPECT_THROW(add_one(in, out, 4, 0, on), StatusError);
  EXPECT_EQ(cudaGetLastError(), cudaErrorECCUncorrectable);
  EXPECT_EQ(cudaGetLastError(), cudaErrorECCUncorrectable);
  EXPECT_EQ(cudaSetDevice(1), cudaSuccess);  // another device works
  EXPECT_EQ(cudaSetDevice(0), cudaErrorECCUncorrectable);
  recover();
  EXPECT_EQ(emulation::enqueue(on, new Failing), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(on), cudaErrorNvlinkUncorrectable);
  recover();
  EXPECT_EQ(host(out, 4, on)[3], 4.0F);
}

}  // namespace
}  // namespace leasehold::self_test
