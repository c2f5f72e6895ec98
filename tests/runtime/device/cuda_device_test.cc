// The CUDA device keeps the contract of devices, and tells what kernels report and what the runtime
// says. Leaves itself out where there is no device.
#include "runtime/device/cuda_device.h"

#include <atomic>
#include <chrono>
#include <stdexcept>

#include "runtime/device/cuda.h"
#include "runtime/device/cuda_check.h"
#include "tests/runtime/device/cuda_under_test.h"

namespace leasehold {

namespace {

INSTANTIATE_TEST_SUITE_P(Cuda, DeviceContract,
                         testing::Values(DeviceFactory{
                             "Cuda", [] { return std::make_unique<CudaUnderTest>(); },
                             [] { return CudaUnderTest::why_not(); }}),
                         [](const auto& tested) { return std::string(tested.param.name); });

class CudaStreams : public testing::Test {
 protected:
  void SetUp() override {
    const std::string why_not = CudaUnderTest::why_not();
    if (!why_not.empty()) GTEST_SKIP() << why_not;
    under_test_ = std::make_unique<CudaUnderTest>();
  }
  Device& device() { return under_test_->device(); }
  void report(Stream& stream, CudaFault fault, int32_t value) {
    CudaStream& cuda_stream = CudaStream::from(stream);
    cuda_stream.enqueue([&](cudaStream_t handle) {
      cuda::report_fault(cuda_stream.fault(), fault_word(fault, value), handle);
    });
  }

  std::unique_ptr<CudaUnderTest> under_test_;
};

TEST_F(CudaStreams, WhatAKernelReportsFailsTheStream) {
  const auto stream = device().create_stream("compute").value();
  report(*stream, CudaFault::kToken, -7);
  expect_parts(stream->synchronize(soon()), Code::kInternal,
               {"cuda:0", "stream compute", "token -7 is outside the vocabulary"});
  int ran = 0;
  CudaStream::from(*stream).enqueue([&](cudaStream_t) { ++ran; });
  EXPECT_EQ(ran, 0);
}

TEST_F(CudaStreams, WhatAKernelReportsReachesWhoeverWaited) {
  const auto event = device().create_event().value();
  const auto handed_on = device().create_event().value();
  const auto compute = device().create_stream("compute").value();
  const auto communication = device().create_stream("communication").value();
  const auto transfer = device().create_stream("transfer").value();
  const auto apart = device().create_stream("apart").value();
  report(*compute, CudaFault::kTarget, 300);
  compute->record(*event);
  communication->wait(*event);
  communication->record(*handed_on);
  transfer->wait(*handed_on);
  compute->wait(*handed_on);  // in a circle
  const char* expected = "target 300 is outside the vocabulary";
  expect_parts(transfer->synchronize(soon()), Code::kInternal, {"stream compute", expected});
  expect_parts(communication->synchronize(soon()), Code::kInternal, {expected});
  expect_parts(event->wait(soon()), Code::kInternal, {expected});
  EXPECT_TRUE(apart->synchronize(soon()).ok());
}

TEST_F(CudaStreams, AnEventKeepsTheReportOfAStreamThatIsGone) {
  const auto event = device().create_event().value();
  {
    const auto stream = device().create_stream("short-lived").value();
    report(*stream, CudaFault::kToken, 3);
    stream->record(*event);
  }
  expect_parts(event->wait(soon()), Code::kInternal, {"short-lived", "token 3"});
}

TEST_F(CudaStreams, AStrangeExceptionIsAnInternalErrorThatNamesTheStream) {
  const auto stream = device().create_stream("compute").value();
  CudaStream::from(*stream).enqueue([](cudaStream_t) { throw std::runtime_error("odd"); });
  expect_parts(stream->synchronize(soon()), Code::kInternal, {"stream compute: odd"});
}

TEST_F(CudaStreams, ACallThatFailsNamesItselfAndTheDevice) {
  const auto stream = device().create_stream("compute").value();
  CudaStream::from(*stream).enqueue(
      [](cudaStream_t) { check_cuda(cudaSetDevice(100000), "cudaSetDevice"); });
  expect_parts(stream->synchronize(soon()), Code::kInternal,
               {"cuda:0", "stream compute", "cudaSetDevice", "cudaErrorInvalidDevice", "device 0"});
}

// A kernel that never ends must not hold the host up: neither when the queue is full, nor at a copy
// that the runtime would make wait, nor when streams and memory go.
TEST_F(CudaStreams, NothingWaitsForAHungDeviceBeyondItsLimit) {
  const auto gate = device().allocate(sizeof(int32_t), MemoryKind::kPinned, "the gate").value();
  auto* closed = static_cast<int32_t*>(gate->data());
  const auto begin = std::chrono::steady_clock::now();
  {
    CudaUnderTest hasty(0.1);
    const auto memory = hasty.device().allocate(64, MemoryKind::kDevice, "a value").value();
    auto* value = static_cast<int32_t*>(memory->data());
    const auto compute = hasty.device().create_stream("compute").value();
    const auto copying = hasty.device().create_stream("copying").value();
    hasty.hold(*compute, closed);
    for (int i = 0; i < 1000; ++i) hasty.add_one(*compute, value);
    expect_parts(CudaStream::from(*compute).failure(), Code::kUnavailable,
                 {"stream compute", "in time"});
    hasty.hold(*copying, closed);
    int32_t pageable = 0;
    copying->copy(&pageable, value, sizeof pageable);
    expect_parts(CudaStream::from(*copying).failure(), Code::kUnavailable, {"stream copying"});
  }
  EXPECT_LT(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(), 10);
  std::atomic_ref(*closed).store(1, std::memory_order_release);
}

TEST_F(CudaStreams, StreamsOfOtherDevicesAreRefused) {
  ForeignStream foreign;
  EXPECT_THROW(CudaStream::from(foreign), StatusError);
}

TEST_F(CudaStreams, TheDeviceSaysWhatItIs) {
  EXPECT_EQ(device().kind(), DeviceKind::kCuda);
  const CudaDeviceProperties& properties = CudaDevice::from(device()).properties();
  EXPECT_EQ(device().name(), "cuda:0 " + properties.name);
  EXPECT_GE(properties.compute_capability_major, 8);
  EXPECT_GT(properties.num_multiprocessors, 0);
  EXPECT_GT(properties.memory_bytes, int64_t{1} << 20);
  EXPECT_GE(properties.runtime_version, 13000);
}

TEST(Cuda, ARankWithoutADeviceIsRefusedWithTheWayOut) {
  EXPECT_TRUE(cuda_built());
  for (const int rank : {-1, 1000}) {
    const auto device = create_cuda_device(rank);
    ASSERT_FALSE(device.ok());
    expect_parts(device.status(), Code::kBadConfig, {"device.kind = \"cuda\""});
  }
}

TEST(Cuda, AMachineWithoutADriverSaysSo) {
  int count = 0;
  const cudaError_t result = cudaGetDeviceCount(&count);
  if (result == cudaSuccess && count > 0) GTEST_SKIP() << "there is a device";
  expect_parts(create_cuda_device(0).status(), Code::kBadConfig, {"driver", "write \"cpu\""});
}

}  // namespace

}  // namespace leasehold
