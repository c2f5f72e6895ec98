// What every Device promises of its streams, events and memory (runtime/device/device.h), tested on
// each in turn: the CPU's two modes, and CUDA. Programs compile device_contract.cc and instantiate
// DeviceContract with what makes their devices.
#pragma once

#include <cstdint>
#include <functional>
#include <gtest/gtest.h>
#include <memory>
#include <ostream>
#include <string>

#include "runtime/device/device.h"

namespace leasehold {

// A device, and the work that tests give its streams, which each kind of device enqueues in its own
// way.
class DeviceUnderTest {
 public:
  virtual ~DeviceUnderTest() = default;
  virtual Device& device() = 0;
  // False where enqueueing runs at once, so that nothing can be held up.
  virtual bool is_asynchronous() const = 0;
  // value (1, device memory) becomes value + 1.
  virtual void add_one(Stream& stream, int32_t* value) = 0;
  // The same, late: after a time in which another stream could have done much.
  virtual void add_one_slowly(Stream& stream, int32_t* value) = 0;
  // The stream fails with kUnavailable and this message, when it comes to it.
  virtual void fail(Stream& stream, const char* message) = 0;
  // What follows waits until *gate (pinned memory) is not 0. Asynchronous devices only.
  virtual void hold(Stream& stream, int32_t* gate) = 0;
};

struct DeviceFactory {
  const char* name;
  std::function<std::unique_ptr<DeviceUnderTest>()> create;  // null: cannot run here, with a reason
  std::function<std::string()> why_not = [] { return std::string(); };
};

// How GoogleTest names it.
inline void PrintTo(const DeviceFactory& factory, std::ostream* out) { *out << factory.name; }

class DeviceContract : public testing::TestWithParam<DeviceFactory> {
 protected:
  void SetUp() override;

  std::unique_ptr<Stream> make_stream(const std::string& name = "stream");
  std::unique_ptr<Event> make_event();
  // An element of device memory, or of host memory that the device copies at full speed, zero.
  int32_t* device_value();
  int32_t* pinned_value();
  // What an element of device memory holds when all streams are done.
  int32_t read(const int32_t* value);

  std::vector<std::unique_ptr<Memory>> memory_;  // declared first: streams end before it does
  std::unique_ptr<DeviceUnderTest> under_test_;
};

// Not of any device here.
class ForeignStream : public Stream {
 public:
  const std::string& name() const override { return name_; }
  void record(Event&) override {}
  void wait(const Event&) override {}
  void copy(void*, const void*, int64_t) override {}
  void fill_zero(void*, int64_t) override {}
  Status synchronize(Deadline) override { return ok_status(); }

 private:
  std::string name_ = "foreign";
};

inline Deadline soon() { return Deadline::after_s(20); }

// A stream that a test holds up until it says go.
class GatedStream {
 public:
  GatedStream(DeviceUnderTest& device, int32_t* gate, const std::string& name = "held");
  ~GatedStream() { go(); }
  GatedStream(const GatedStream&) = delete;
  GatedStream& operator=(const GatedStream&) = delete;
  Stream& stream() { return *stream_; }
  void go();

 private:
  int32_t* gate_;
  std::unique_ptr<Stream> stream_;
};

}  // namespace leasehold
