// The requirements on every Communicator, as cases that run on each of its ranks.
#pragma once

#include <functional>
#include <span>

#include "runtime/comm/communicator.h"
#include "runtime/device/device.h"

namespace leasehold {

// The device with the group's tensors.
struct ConformanceDevice {
  Device& device;
  // Enqueues out = left + right, elementwise, for F64 tensors of the device; out may be either.
  std::function<void(Stream& stream, Tensor left, Tensor right, Tensor out)> add;
};

// Returns a ConformanceDevice on a CPU device.
ConformanceDevice conformance_device(Device& cpu_device);

struct ConformanceCase {
  const char* name;
  // Runs the case. Called once on every rank of `group`, which is healthy before and after.
  void (*run)(Communicator& group, ConformanceDevice& on);
  bool needs_host_memory = false;
};

std::span<const ConformanceCase> conformance_cases();

}  // namespace leasehold
