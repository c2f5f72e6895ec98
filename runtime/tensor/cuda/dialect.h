// The place where the language of kernels is bound to a compiler: this file to nvcc, and
// instructions.h beside it. A build that executes kernels without a GPU puts twins of the same
// paths before them in the include path. Kernels use nothing of CUDA beyond what both understand:
//   launch() instead of <<<>>>, and never the default stream;
//   the two macros for shared memory;
//   no assembly but in instructions.h, no __CUDA_ARCH__, no cooperative groups, clusters, textures
//   or graphs; no waiting on other blocks, no return before a barrier of the block, full masks in
//   warp operations, __syncwarp after writes to shared memory that other lanes read; local arrays
//   below 64 KB.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

// An array in the block's shared memory: LEASEHOLD_SHARED(tile, float[32][33]);
#define LEASEHOLD_SHARED(name, ...) \
  using name##_type = __VA_ARGS__;  \
  __shared__ name##_type name
// The shared memory whose size the launch gives, 128-byte aligned, as elements:
// LEASEHOLD_DYNAMIC_SHARED(float, tile); once in a kernel.
#define LEASEHOLD_DYNAMIC_SHARED(type, name)                                        \
  extern __shared__ __align__(128) unsigned char leasehold_dynamic_shared_memory[]; \
  type* name = reinterpret_cast<type*>(leasehold_dynamic_shared_memory)

namespace leasehold::cuda {

// nvcc's own runtime knows its kernels.
template <typename... Parameters>
void announce(void (*)(Parameters...)) {}

}  // namespace leasehold::cuda

#include "runtime/tensor/cuda/launch.h"
