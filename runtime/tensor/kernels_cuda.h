// Kernels on a CUDA device, in fp32 or bf16. The class unpacks tensors and calls the launchers of
// runtime/tensor/cuda inside CudaStream::enqueue; contracts are those of kernels.h. Plain C++, also
// for builds without CUDA, where create_cuda_kernels() says so.
#pragma once

#include <memory>
#include <string>

#include "runtime/tensor/kernels_cuda_sizes.h"

namespace leasehold {

class CudaDevice;
class CudaLinear;

// `dtype` is kF32 or kBf16, `device` a CUDA device, which must outlive the kernels. Streams given
// to the operations are the device's.
Result<std::unique_ptr<Kernels>> create_cuda_kernels(Device& device, DType dtype);

class CudaKernels : public CudaKernelSizes {
 public:
  static Result<std::unique_ptr<CudaKernels>> create(CudaDevice& device, DType dtype);
  ~CudaKernels() override;

  const char* name() const override { return "cuda"; }
  std::string arithmetic_class() const override;
  uint64_t order_of_sums() const override;
  std::string algorithms() const override;
  Status use_algorithms(const std::string& text) override;
  int64_t num_choices() const override;

 protected:
  void do_linear_forward(Stream& stream, Tensor x, Tensor weight, Tensor bias,
                         Activation activation, Tensor pre, Tensor y) override;
  void do_linear_backward_input(Stream& stream, Tensor dy, Tensor weight, Activation activation,
                                Tensor pre, Tensor dx, Write write) override;
  void do_linear_backward_weight(Stream& stream, Tensor dy, Tensor x, Tensor dweight, Tensor dbias,
                                 Write write) override;
  // In kernels_cuda_layers.cc.
  void do_layer_norm_forward(Stream& stream, Tensor x, Tensor delta, const Dropout& dropout,
                             Tensor sum, Tensor weight, Tensor bias, double eps, Tensor y,
                             Tensor mean, Tensor rstd) override;
  void do_layer_norm_backward(Stream& stream, Tensor dy, Tensor input, Tensor weight, Tensor mean,
                              Tensor rstd, Tensor dresidual, Tensor dx, Tensor dweight,
                              Tensor dbias, Write write, Tensor workspace) override;
  void do_rms_norm_forward(Stream& stream, Tensor x, Tensor delta, const Dropout& dropout,
                           Tensor sum, Tensor weight, double eps, Tensor y, Tensor rstd) override;
  void do_rms_norm_backward(Stream& stream, Tensor dy, Tensor input, Tensor weight, Tensor rstd,
                            Tensor dresidual, Tensor dx, Tensor dweight, Write write,
                            Tensor workspace) override;
  void do_swiglu_forward(Stream& stream, Tensor gate_up, Tensor y) override;
  void do_swiglu_backward(Stream& stream, Tensor dy, Tensor gate_up, Tensor dgate_up) override;
  void do_embedding_forward(Stream& stream, Tensor tokens, Tensor token_weight,
                            Tensor position_weight, const Dropout& dropout, Tensor out,
                            const VocabularyShard& shard) override;
  void do_embedding_backward(Stream& stream, Tensor tokens, Tensor dout, const Dropout& dropout,
                             Tensor dtoken_weight, Tensor dposition_weight, Write write,
                             Tensor workspace, const VocabularyShard& shard) override;
  void do_cross_entropy(Stream& stream, Tensor logits, Tensor targets, float gradient_scale,
                        Tensor loss, Tensor workspace) override;
  void do_cross_entropy_statistics(Stream& stream, Tensor logits, Tensor targets,
                                   const VocabularyShard& shard, bool for_gradient,
                                   Tensor statistics) override;
  void do_cross_entropy_from_statistics(Stream& stream, Tensor statistics, Tensor targets,
                                        const VocabularyShard& shard, float gradient_scale,
                                        Tensor logits, Tensor loss, Tensor workspace) override;
  // In kernels_cuda_attention.cc.
  void do_rotary(Stream& stream, const AttentionShape& shape, const Rotary& rotary, Tensor qkv,
                 bool backward) override;
  void do_attention_forward(Stream& stream, const AttentionShape& shape, Tensor qkv,
                            const Dropout& dropout, Tensor out, Tensor log_sum_exp,
                            Tensor workspace) override;
  void do_attention_backward(Stream& stream, const AttentionShape& shape, Tensor dout, Tensor qkv,
                             Tensor out, Tensor log_sum_exp, const Dropout& dropout, Tensor dqkv,
                             Tensor workspace) override;
  // In kernels_cuda.cc, as the linears.
  void do_residual_add(Stream& stream, Tensor x, Tensor delta, const Dropout& dropout,
                       Tensor out) override;
  void do_add(Stream& stream, Tensor left, Tensor right, Tensor out) override;
  void do_sum_parts(Stream& stream, Tensor parts, Tensor out) override;
  void do_fill(Stream& stream, Tensor out, float value) override;
  void do_cast(Stream& stream, Tensor in, Tensor out) override;
  void do_squared_norms(Stream& stream, Tensor x, float scale, Tensor sums) override;
  void do_adamw(Stream& stream, const AdamWStep& step, Tensor parameter, Tensor gradient, Tensor m,
                Tensor v, Tensor working) override;
  void do_adamw_all(Stream& stream, const AdamWStep& decayed, const AdamWStep& plain,
                    std::span<const AdamWTensors> all) override;

 private:
  CudaKernels(CudaDevice& device, DType dtype, std::unique_ptr<CudaLinear> linear);

  CudaDevice& device_;
  std::unique_ptr<CudaLinear> linear_;
};

}  // namespace leasehold
