// Allocations of a CUDA device: its own memory, and host memory that it copies to and from at full
// speed.
#pragma once

#include <memory>
#include <string>

#include "runtime/device/cuda_context.h"
#include "runtime/device/device.h"

namespace leasehold {

// As Device::allocate.
Result<std::unique_ptr<Memory>> allocate_cuda_memory(const std::shared_ptr<CudaContext>& context,
                                                     int64_t size_bytes, MemoryKind kind,
                                                     const std::string& purpose);

}  // namespace leasehold
