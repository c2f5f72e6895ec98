#include "runtime/device/planned_device.h"

namespace leasehold {

namespace {

Status refusal() { return error(Code::kInternal, "a device that is planned only does nothing"); }
[[noreturn]] void refuse() { throw StatusError(refusal()); }

class PlannedEvent : public Event {
 public:
  bool ready() const override { refuse(); }
  Status wait(Deadline) const override { return refusal(); }
  Result<double> seconds_since(const Event&) const override { return refusal(); }
};

class PlannedStream : public Stream {
 public:
  explicit PlannedStream(std::string name) : name_(std::move(name)) {}
  const std::string& name() const override { return name_; }
  void record(Event&) override { refuse(); }
  void wait(const Event&) override { refuse(); }
  void copy(void*, const void*, int64_t) override { refuse(); }
  void fill_zero(void*, int64_t) override { refuse(); }
  Status synchronize(Deadline) override { return refusal(); }

 private:
  std::string name_;
};

class PlannedDevice : public Device {
 public:
  explicit PlannedDevice(DeviceKind kind)
      : kind_(kind), name_(fmt::format("{}, planned", device_kind_name(kind))) {}
  DeviceKind kind() const override { return kind_; }
  const std::string& name() const override { return name_; }
  Result<std::unique_ptr<Stream>> create_stream(const std::string& name) override {
    return std::unique_ptr<Stream>(std::make_unique<PlannedStream>(name));
  }
  Result<std::unique_ptr<Event>> create_event() override {
    return std::unique_ptr<Event>(std::make_unique<PlannedEvent>());
  }
  Result<std::unique_ptr<Event>> create_timed_event() override { return create_event(); }
  Result<std::unique_ptr<Memory>> allocate(int64_t, MemoryKind, const std::string&) override {
    return refusal();
  }

 private:
  DeviceKind kind_;
  std::string name_;
};

}  // namespace

std::unique_ptr<Device> create_planned_device(DeviceKind kind) {
  return std::make_unique<PlannedDevice>(kind);
}

}  // namespace leasehold
