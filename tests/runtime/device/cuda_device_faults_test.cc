// What the CUDA device says where calls of the runtime fail: failures that the emulation injects.
#include <cstdlib>

#include "runtime/base/broken_host.h"
#include "runtime/base/resource_exhausted.h"
#include "runtime/device/cuda_device.h"
#include "tests/emulated_gpu/emulation.h"
#include "tests/runtime/device/cuda_under_test.h"

namespace leasehold {

namespace {

class CudaFaults : public testing::Test {
 protected:
  void SetUp() override {
    emulation::reset();
    emulation::take_reports();
  }
  void TearDown() override {
    EXPECT_EQ(emulation::take_reports(), "");
    emulation::reset();
  }
};

TEST_F(CudaFaults, NoDriverAndNoDeviceAreBadConfigurationWithTheWayOut) {
  emulation::fail_call("cudaGetDeviceCount", 1, cudaErrorInsufficientDriver);
  expect_parts(CudaDevice::create({}).status(), Code::kBadConfig,
               {"no NVIDIA driver", "write \"cpu\""});
  emulation::fail_call("cudaGetDeviceCount", 1, cudaErrorNoDevice);
  expect_parts(CudaDevice::create({}).status(), Code::kBadConfig,
               {"no device", "CUDA_VISIBLE_DEVICES", "write \"cpu\""});
}

// As when MPI started the driver before this program could say how it wants its kernels loaded.
TEST_F(CudaFaults, ADriverThatLoadsLazilyUnaskedIsRefused) {
  emulation::set_lazy_loading(true);
  expect_parts(CudaDevice::create({}).status(), Code::kBadConfig,
               {"cuda:0", "first launched", "CUDA_MODULE_LOADING=EAGER",
                "CUDA_DEVICE_MAX_CONNECTIONS=32", "mpirun -x"});
  ::setenv("CUDA_MODULE_LOADING", "LAZY", 1);
  EXPECT_TRUE(CudaDevice::create({}).ok()) << "it was asked for";
  ::setenv("CUDA_MODULE_LOADING", "EAGER", 1);
  emulation::set_lazy_loading(false);
  EXPECT_TRUE(CudaDevice::create({}).ok());
}

TEST_F(CudaFaults, MemoryThatRunsOutNamesPurposeAndWhatIsFree) {
  CudaUnderTest under_test;
  emulation::set_memory_limit(0, 1 << 20);
  const auto memory = under_test.device().allocate(2 << 20, MemoryKind::kDevice, "activations");
  expect_parts(memory.status(), kResourceExhausted,
               {"no memory for activations (2097152 bytes)", "cuda:0", "free", "batch.microbatch"});
  emulation::fail_call("cudaHostAlloc", 1, cudaErrorMemoryAllocation);
  const auto pinned = under_test.device().allocate(100, MemoryKind::kPinned, "staging");
  expect_parts(pinned.status(), kResourceExhausted,
               {"no pinned host memory for staging", "ulimit"});
}

TEST_F(CudaFaults, EveryCallOfSettingUpAStreamIsChecked) {
  CudaUnderTest under_test;
  for (const char* call : {"cudaSetDevice", "cudaHostAlloc", "cudaHostGetDevicePointer",
                           "cudaDeviceGetStreamPriorityRange", "cudaStreamCreateWithPriority",
                           "cudaEventCreateWithFlags"}) {
    emulation::fail_call(call, 1, cudaErrorInvalidValue);
    expect_parts(under_test.device().create_stream("compute").status(), Code::kInternal,
                 {call, "cudaErrorInvalidValue", "device 0"});
  }
  EXPECT_TRUE(under_test.device().create_stream("compute").ok());
}

TEST_F(CudaFaults, EveryCallOfAStreamIsChecked) {
  CudaUnderTest under_test;
  const auto memory = under_test.device().allocate(8, MemoryKind::kDevice, "a value").value();
  const auto event = under_test.device().create_event().value();
  const auto recorder = under_test.device().create_stream("recorder").value();
  recorder->record(*event);
  auto* value = static_cast<int32_t*>(memory->data());
  const std::pair<const char*, std::function<void(Stream&)>> calls[] = {
      {"cudaMemcpyAsync", [&](Stream& stream) { stream.copy(value, value + 1, 4); }},
      {"cudaPointerGetAttributes", [&](Stream& stream) { stream.copy(value, value + 1, 4); }},
      {"cudaMemsetAsync", [&](Stream& stream) { stream.fill_zero(value, 4); }},
      {"cudaEventRecord", [&](Stream& stream) { stream.record(*event); }},
      {"cudaStreamWaitEvent", [&](Stream& stream) { stream.wait(*event); }},
      {"cudaLaunchKernelExC", [&](Stream& stream) { under_test.add_one(stream, value); }},
  };
  for (const auto& [call, enqueue] : calls) {
    const auto stream = under_test.device().create_stream("compute").value();
    emulation::fail_call(call, 1, cudaErrorInvalidValue);
    enqueue(*stream);
    expect_parts(CudaStream::from(*stream).failure(), Code::kInternal,
                 {"cuda:0", "stream compute", "cudaErrorInvalidValue"});
    EXPECT_FALSE(stream->synchronize(soon()).ok()) << call;
  }
}

TEST_F(CudaFaults, AStickyFaultIsToldByEveryWait) {
  CudaUnderTest under_test;
  {
    const auto memory = under_test.device().allocate(8, MemoryKind::kDevice, "a value").value();
    const auto event = under_test.device().create_event().value();
    const auto stream = under_test.device().create_stream("compute").value();
    const auto other = under_test.device().create_stream("other").value();
    emulation::fault_at_launch(0, 1, cudaErrorIllegalAddress);
    under_test.add_one(*stream, static_cast<int32_t*>(memory->data()));
    stream->record(*event);
    expect_parts(stream->synchronize(soon()), Code::kInternal, {"cudaErrorIllegalAddress"});
    EXPECT_EQ(event->wait(soon()).code(), Code::kInternal);
    EXPECT_TRUE(event->ready());
    // The whole device is gone, not only that stream.
    expect_parts(other->synchronize(soon()), Code::kInternal, {"cudaErrorIllegalAddress"});
    EXPECT_EQ(under_test.device().allocate(8, MemoryKind::kDevice, "more").status().code(),
              Code::kInternal);
  }
}

TEST_F(CudaFaults, BrokenHardwareIsALostNode) {
  CudaUnderTest under_test;
  const auto memory = under_test.device().allocate(8, MemoryKind::kDevice, "a value").value();
  const auto stream = under_test.device().create_stream("compute").value();
  emulation::fault_at_launch(0, 1, cudaErrorECCUncorrectable);
  under_test.add_one(*stream, static_cast<int32_t*>(memory->data()));
  expect_parts(stream->synchronize(soon()), kBrokenHost, {"cudaErrorECCUncorrectable"});
}

}  // namespace

}  // namespace leasehold
