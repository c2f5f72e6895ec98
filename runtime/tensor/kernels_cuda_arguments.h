// From the runtime's types to the launchers' arguments.
#pragma once

#include <cuda_bf16.h>

#include "runtime/base/check.h"
#include "runtime/device/cuda_stream.h"
#include "runtime/tensor/cuda/philox.h"
#include "runtime/tensor/kernels.h"

namespace leasehold {

template <>
struct DTypeOf<__nv_bfloat16> {
  static constexpr DType value = DType::kBf16;
};

// The elements, checked against the dtype; null for an absent tensor.
template <typename T>
T* elements(const Tensor& tensor) {
  return tensor.present() ? tensor.as<T>() : nullptr;
}

inline cuda::DropoutMask mask_of(const Dropout& dropout) {
  return {.p = dropout.p,
          .kept = 1.0F / (1.0F - dropout.p),
          .key = dropout.site.key,
          .step = dropout.site.step,
          .microbatch = dropout.site.microbatch,
          .first_element = dropout.first_element};
}

// task(stream, element) with a value of the element type, float or __nv_bfloat16, enqueued.
template <typename Task>
void enqueue_typed(Stream& stream, DType dtype, Task&& task) {
  CudaStream::from(stream).enqueue([&](cudaStream_t handle) {
    if (dtype == DType::kBf16) {
      task(handle, __nv_bfloat16());
    } else {
      LEASEHOLD_CHECK(dtype == DType::kF32, "a CUDA kernel of {}", dtype_name(dtype));
      task(handle, float());
    }
  });
}

}  // namespace leasehold
