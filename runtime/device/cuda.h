// The seam to CUDA. Two files define these functions: one for builds with CUDA, and cuda_absent.cc,
// which is linked instead where the toolkit is missing and says so.
#pragma once

#include <memory>

#include "runtime/device/device.h"

namespace leasehold {

// True when this build can drive CUDA devices at all.
bool cuda_built();
// The CUDA device with index `node_local_rank`; enqueueing and freeing wait for it at most
// `wait_limit_s`. kBadConfig, with the way out, when the build has no CUDA, the machine no driver
// or no such device.
Result<std::unique_ptr<Device>> create_cuda_device(int node_local_rank, double wait_limit_s = 300);

}  // namespace leasehold
