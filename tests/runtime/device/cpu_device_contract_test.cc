// The CPU device keeps the contract of devices in both of its modes.
#include <atomic>
#include <chrono>
#include <thread>

#include "runtime/device/cpu_stream.h"
#include "tests/runtime/device/device_contract.h"

namespace leasehold {

namespace {

class CpuUnderTest : public DeviceUnderTest {
 public:
  explicit CpuUnderTest(bool asynchronous)
      : device_(CpuDevice::create({.asynchronous = asynchronous, .wait_limit_s = 20})) {}
  Device& device() override { return *device_; }
  bool is_asynchronous() const override { return device_->options().asynchronous; }
  void add_one(Stream& stream, int32_t* value) override {
    CpuStream::from(stream).enqueue([value] { ++*value; });
  }
  void add_one_slowly(Stream& stream, int32_t* value) override {
    CpuStream::from(stream).enqueue([value] {
      std::this_thread::sleep_for(std::chrono::microseconds(200));
      ++*value;
    });
  }
  void fail(Stream& stream, const char* message) override {
    CpuStream::from(stream).enqueue(
        [message] { throw StatusError(error(Code::kUnavailable, "{}", message)); });
  }
  void hold(Stream& stream, int32_t* gate) override {
    CpuStream::from(stream).enqueue([gate] {
      while (std::atomic_ref(*gate).load(std::memory_order_acquire) == 0) {
        std::this_thread::sleep_for(std::chrono::microseconds(100));
      }
    });
  }

 private:
  std::unique_ptr<CpuDevice> device_;
};

INSTANTIATE_TEST_SUITE_P(
    Cpu, DeviceContract,
    testing::Values(DeviceFactory{"Inline", [] { return std::make_unique<CpuUnderTest>(false); }},
                    DeviceFactory{"Asynchronous",
                                  [] { return std::make_unique<CpuUnderTest>(true); }}),
    [](const auto& tested) { return std::string(tested.param.name); });

}  // namespace

}  // namespace leasehold
