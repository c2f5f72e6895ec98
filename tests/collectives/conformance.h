// What every Communicator must do, as cases that run on each of its ranks.
#pragma once

#include <span>

#include "runtime/comm/communicator.h"
#include "runtime/device/cpu_device.h"

namespace leasehold {

struct ConformanceCase {
  const char* name;
  // Called once on every rank of `group`, which is healthy before and after. Streams come from
  // `device`.
  void (*run)(Communicator& group, CpuDevice& device);
};

std::span<const ConformanceCase> conformance_cases();

}  // namespace leasehold
