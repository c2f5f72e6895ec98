// The CUDA device in tests: cuda:0, of a machine or of the emulation.
#pragma once

#include <initializer_list>
#include <memory>
#include <string>

#include "runtime/device/cuda_device.h"
#include "runtime/device/cuda_stream.h"
#include "tests/runtime/device/device_contract.h"
#include "tests/runtime/device/test_kernels.h"

namespace leasehold {

// `status` has the code, and all the parts in its message.
inline void expect_parts(const Status& status, Code code,
                         std::initializer_list<const char*> parts) {
  EXPECT_EQ(status.code(), code) << status.message();
  for (const char* part : parts) {
    EXPECT_NE(status.message().find(part), std::string::npos) << part << " in " << status.message();
  }
}

class CudaUnderTest : public DeviceUnderTest {
 public:
  explicit CudaUnderTest(double wait_limit_s = 20)
      : device_(CudaDevice::create({.wait_limit_s = wait_limit_s}).value()) {}
  // Empty, or why tests on this machine must be left out.
  static std::string why_not() {
    const auto device = CudaDevice::create({});
    return device.ok() ? std::string() : device.status().message();
  }

  Device& device() override { return *device_; }
  bool is_asynchronous() const override { return true; }
  void add_one(Stream& stream, int32_t* value) override {
    CudaStream::from(stream).enqueue([&](cudaStream_t handle) { cuda::add_one(value, handle); });
  }
  void add_one_slowly(Stream& stream, int32_t* value) override {
    constexpr int64_t kTurns = 100000;
    CudaStream::from(stream).enqueue(
        [&](cudaStream_t handle) { cuda::add_one_slowly(value, kTurns, handle); });
  }
  void fail(Stream& stream, const char* message) override {
    CudaStream::from(stream).enqueue(
        [&](cudaStream_t) { throw StatusError(error(Code::kUnavailable, "{}", message)); });
  }
  void hold(Stream& stream, int32_t* gate) override {
    CudaStream::from(stream).enqueue([&](cudaStream_t handle) { cuda::hold(gate, handle); });
  }

 private:
  std::unique_ptr<CudaDevice> device_;
};

}  // namespace leasehold
