#include "runtime/device/device.h"

namespace leasehold {

const char* device_kind_name(DeviceKind kind) { return kind == DeviceKind::kCpu ? "cpu" : "cuda"; }

}  // namespace leasehold
