// The twin of runtime/tensor/cuda/dialect.h for the emulated GPU, where kernels are C++ functions.
// It comes first in the include path of kernels' sources. What it offers is what that one offers.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include "tests/emulated_gpu/builtins.h"
#include "tests/emulated_gpu/kernel.h"

// n no-operations before the kernel's entry, by which the emulation knows the bound; sizeof makes
// gcc see a number where n is a constant's name.
// NOLINTNEXTLINE(bugprone-reserved-identifier,readability-identifier-naming)
#define __launch_bounds__(n, ...) \
  __attribute__((patchable_function_entry(sizeof(char[n]), sizeof(char[n]))))

#define LEASEHOLD_SHARED(name, ...)                                                             \
  using name##_type = __VA_ARGS__;                                                              \
  static constexpr ::leasehold::emulation::SharedArray name##_array{#name, sizeof(name##_type), \
                                                                    alignof(name##_type)};      \
  name##_type& name = *static_cast<name##_type*>(::leasehold::emulation::shared_array(name##_array))
#define LEASEHOLD_DYNAMIC_SHARED(type, name) \
  type* name = static_cast<type*>(::leasehold::emulation::dynamic_shared_memory())

namespace leasehold::cuda {

// The emulation calls a kernel by its signature.
template <typename... Parameters>
void announce(void (*kernel)(Parameters...)) {
  emulation::register_kernel(reinterpret_cast<const void*>(kernel),
                             &emulation::SignatureOf<Parameters...>::kSignature);
}

}  // namespace leasehold::cuda

#include "runtime/tensor/cuda/launch.h"
