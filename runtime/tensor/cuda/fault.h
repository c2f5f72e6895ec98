// How kernels report bad data.
#pragma once

#include "runtime/device/cuda_fault.h"
#include "runtime/tensor/cuda/dialect.h"

namespace leasehold::cuda {

// The device's twin of fault_word(). Many threads may report; one of them is heard.
__device__ inline void report_fault(FaultWord* word, CudaFault fault, int32_t value) {
  *word = FaultWord{static_cast<uint32_t>(fault)} << 32 | static_cast<uint32_t>(value);
}

}  // namespace leasehold::cuda
