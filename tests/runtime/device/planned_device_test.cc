#include "runtime/device/planned_device.h"

#include <gtest/gtest.h>

namespace leasehold {
namespace {

TEST(PlannedDeviceTest, MakesStreamsAndEventsThatDoNothing) {
  const auto device = create_planned_device(DeviceKind::kCuda);
  EXPECT_EQ(device->kind(), DeviceKind::kCuda);
  EXPECT_EQ(device->name(), "cuda, planned");
  const auto stream = device->create_stream("compute").value();
  const auto event = device->create_event().value();
  EXPECT_EQ(stream->name(), "compute");
  char bytes[2] = {};
  EXPECT_THROW(stream->copy(bytes, bytes + 1, 1), StatusError);
  EXPECT_THROW(stream->fill_zero(bytes, 1), StatusError);
  EXPECT_THROW(stream->record(*event), StatusError);
  EXPECT_THROW(stream->wait(*event), StatusError);
  EXPECT_EQ(stream->synchronize(Deadline::after_s(1)).code(), Code::kInternal);
  EXPECT_EQ(event->wait(Deadline::after_s(1)).code(), Code::kInternal);
}

TEST(PlannedDeviceTest, HasNoMemory) {
  const auto device = create_planned_device(DeviceKind::kCuda);
  EXPECT_EQ(device->allocate(256, MemoryKind::kDevice, "weights").status().code(), Code::kInternal);
}

}  // namespace
}  // namespace leasehold
