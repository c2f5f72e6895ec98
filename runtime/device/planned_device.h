// A device that is not there: what forecasts of memory are made with.
#pragma once

#include <memory>

#include "runtime/device/device.h"

namespace leasehold {

// Its streams and events can be made; whatever they are asked for throws StatusError (kInternal).
// It has no memory: kInternal.
std::unique_ptr<Device> create_planned_device(DeviceKind kind);

}  // namespace leasehold
