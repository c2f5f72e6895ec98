#include "runtime/tensor/kernels_cuda_sizes.h"

#include "runtime/base/check.h"
#include "runtime/tensor/cuda/workspaces.h"

namespace leasehold {

int64_t CudaKernelSizes::layer_norm_backward_workspace_bytes(int64_t N, int64_t C) const {
  return cuda::norm_backward_workspace_bytes(N, C, true);
}
int64_t CudaKernelSizes::rms_norm_backward_workspace_bytes(int64_t N, int64_t C) const {
  return cuda::norm_backward_workspace_bytes(N, C, false);
}
int64_t CudaKernelSizes::embedding_backward_workspace_bytes(int64_t N, int64_t, int64_t) const {
  return cuda::embedding_backward_workspace_bytes(N);
}
int64_t CudaKernelSizes::attention_workspace_bytes(const AttentionShape& shape) const {
  return cuda::attention_workspace_bytes(shape.B, shape.H(), shape.T);
}
int64_t CudaKernelSizes::cross_entropy_workspace_bytes(int64_t N, int64_t) const {
  return cuda::cross_entropy_workspace_bytes(N);
}

namespace {

class PlannedCudaKernels : public CudaKernelSizes {
 public:
  explicit PlannedCudaKernels(DType dtype) : CudaKernelSizes(dtype) {
    LEASEHOLD_CHECK(dtype == DType::kF32 || dtype == DType::kBf16, "CUDA kernels of {}",
                    dtype_name(dtype));
  }

  const char* name() const override { return "cuda, planned"; }
  std::string arithmetic_class() const override { refuse(); }

 protected:
  void do_linear_forward(Stream&, Tensor, Tensor, Tensor, Activation, Tensor, Tensor) override {
    refuse();
  }
  void do_linear_backward_input(Stream&, Tensor, Tensor, Activation, Tensor, Tensor,
                                Write) override {
    refuse();
  }
  void do_linear_backward_weight(Stream&, Tensor, Tensor, Tensor, Tensor, Write) override {
    refuse();
  }
  void do_layer_norm_forward(Stream&, Tensor, Tensor, const Dropout&, Tensor, Tensor, Tensor,
                             double, Tensor, Tensor, Tensor) override {
    refuse();
  }
  void do_layer_norm_backward(Stream&, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor,
                              Tensor, Tensor, Write, Tensor) override {
    refuse();
  }
  void do_rms_norm_forward(Stream&, Tensor, Tensor, const Dropout&, Tensor, Tensor, double, Tensor,
                           Tensor) override {
    refuse();
  }
  void do_rms_norm_backward(Stream&, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Write,
                            Tensor) override {
    refuse();
  }
  void do_swiglu_forward(Stream&, Tensor, Tensor) override { refuse(); }
  void do_swiglu_backward(Stream&, Tensor, Tensor, Tensor) override { refuse(); }
  void do_residual_add(Stream&, Tensor, Tensor, const Dropout&, Tensor) override { refuse(); }
  void do_embedding_forward(Stream&, Tensor, Tensor, Tensor, const Dropout&, Tensor,
                            const VocabularyShard&) override {
    refuse();
  }
  void do_embedding_backward(Stream&, Tensor, Tensor, const Dropout&, Tensor, Tensor, Write, Tensor,
                             const VocabularyShard&) override {
    refuse();
  }
  void do_rotary(Stream&, const AttentionShape&, const Rotary&, Tensor, bool) override { refuse(); }
  void do_attention_forward(Stream&, const AttentionShape&, Tensor, const Dropout&, Tensor, Tensor,
                            Tensor) override {
    refuse();
  }
  void do_attention_backward(Stream&, const AttentionShape&, Tensor, Tensor, Tensor, Tensor,
                             const Dropout&, Tensor, Tensor) override {
    refuse();
  }
  void do_cross_entropy(Stream&, Tensor, Tensor, float, Tensor, Tensor) override { refuse(); }
  void do_cross_entropy_statistics(Stream&, Tensor, Tensor, const VocabularyShard&, bool,
                                   Tensor) override {
    refuse();
  }
  void do_cross_entropy_from_statistics(Stream&, Tensor, Tensor, const VocabularyShard&, float,
                                        Tensor, Tensor, Tensor) override {
    refuse();
  }
  void do_add(Stream&, Tensor, Tensor, Tensor) override { refuse(); }
  void do_sum_parts(Stream&, Tensor, Tensor) override { refuse(); }
  void do_fill(Stream&, Tensor, float) override { refuse(); }
  void do_cast(Stream&, Tensor, Tensor) override { refuse(); }
  void do_squared_norms(Stream&, Tensor, float, Tensor) override { refuse(); }
  void do_adamw(Stream&, const AdamWStep&, Tensor, Tensor, Tensor, Tensor, Tensor) override {
    refuse();
  }

 private:
  [[noreturn]] static void refuse() {
    throw StatusError(error(Code::kInternal, "CUDA kernels that are planned only compute nothing"));
  }
};

}  // namespace

std::unique_ptr<Kernels> create_planned_cuda_kernels(DType dtype) {
  return std::make_unique<PlannedCudaKernels>(dtype);
}

}  // namespace leasehold
