// What CUDA kernels say of their memory: of shapes alone, the same for every GPU. So a forecast
// needs none, nor a build with CUDA.
#pragma once

#include <memory>

#include "runtime/tensor/kernels.h"

namespace leasehold {

class CudaKernelSizes : public Kernels {
 public:
  DType dtype() const override { return dtype_; }
  int64_t layer_norm_backward_workspace_bytes(int64_t N, int64_t C) const override;
  int64_t rms_norm_backward_workspace_bytes(int64_t N, int64_t C) const override;
  int64_t embedding_backward_workspace_bytes(int64_t N, int64_t V, int64_t C) const override;
  int64_t attention_workspace_bytes(const AttentionShape& shape) const override;
  int64_t cross_entropy_workspace_bytes(int64_t N, int64_t V) const override;

 protected:
  explicit CudaKernelSizes(DType dtype) : dtype_(dtype) {}

 private:
  DType dtype_;
};

// Kernels of a GPU that is not there: they say sizes, and every operation throws StatusError
// (kInternal). What forecasts are made with. `dtype` is kF32 or kBf16.
std::unique_ptr<Kernels> create_planned_cuda_kernels(DType dtype);

}  // namespace leasehold
