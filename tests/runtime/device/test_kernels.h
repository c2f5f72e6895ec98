// Kernels that tests of the CUDA device enqueue.
#pragma once

#include <cstdint>
#include <cuda_runtime.h>

#include "runtime/device/cuda_fault.h"

namespace leasehold::cuda {

void add_one(int32_t* value, cudaStream_t stream);
// After `turns` reads of device memory, one behind the other.
void add_one_slowly(int32_t* value, int64_t turns, cudaStream_t stream);
// Until *gate, in pinned memory, is not 0.
void hold(const volatile int32_t* gate, cudaStream_t stream);
// As a kernel does that meets bad data.
void report_fault(FaultWord* fault, FaultWord word, cudaStream_t stream);

}  // namespace leasehold::cuda
