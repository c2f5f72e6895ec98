// How kernels are launched: the end of dialect.h, of the real one and of its twin alike. Before it
// they define announce(kernel), which is what a build has to know of a kernel before its first
// launch.
#pragma once

#include <cstddef>
#include <cuda_runtime.h>

#include "runtime/device/cuda_check.h"

namespace leasehold::cuda {

// Enqueues kernel(arguments...). dynamic_shared_bytes above 48 KiB need allow_shared_memory first.
// Throws StatusError.
template <typename... Parameters, typename... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t dynamic_shared_bytes,
            cudaStream_t stream, Arguments... arguments) {
  announce(kernel);
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = dynamic_shared_bytes;
  config.stream = stream;
  check_cuda(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...),
             "cudaLaunchKernelEx");
}

// Lets a kernel ask for up to `bytes` of dynamic shared memory.
template <typename... Parameters>
void allow_shared_memory(void (*kernel)(Parameters...), size_t bytes) {
  check_cuda(
      cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                           cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)),
      "cudaFuncSetAttribute");
}

}  // namespace leasehold::cuda
