// Attention and rotary positions of CudaKernels.
#include "runtime/tensor/cuda/attention.h"
#include "runtime/tensor/cuda/rotary.h"
#include "runtime/tensor/kernels_cuda.h"
#include "runtime/tensor/kernels_cuda_arguments.h"

namespace leasehold {

namespace {

cuda::AttentionSizes sizes_of(const AttentionShape& shape) {
  return {.B = shape.B,
          .T = shape.T,
          .G = shape.G,
          .R = shape.R,
          .D = shape.D,
          .first_head = shape.first_head,
          .all_heads = shape.all_heads == 0 ? shape.H() : shape.all_heads};
}

void check_channels(const AttentionShape& shape) {
  LEASEHOLD_CHECK(shape.D <= cuda::kMaxHeadChannels,
                  "attention on CUDA: heads of {} channels, {} is the most", shape.D,
                  cuda::kMaxHeadChannels);
}

}  // namespace

void CudaKernels::do_rotary(Stream& stream, const AttentionShape& shape, const Rotary& rotary,
                            Tensor qkv, bool backward) {
  enqueue_typed(stream, dtype(), [&]<typename T>(cudaStream_t handle, T) {
    cuda::rotary<T>(sizes_of(shape),
                    {.theta = rotary.theta,
                     .factor = rotary.factor,
                     .low_freq_factor = rotary.low_freq_factor,
                     .high_freq_factor = rotary.high_freq_factor,
                     .original_sequence = static_cast<double>(rotary.original_sequence)},
                    elements<T>(qkv), backward, handle);
  });
}

void CudaKernels::do_attention_forward(Stream& stream, const AttentionShape& shape, Tensor qkv,
                                       const Dropout& dropout, Tensor out, Tensor log_sum_exp,
                                       Tensor) {
  check_channels(shape);
  enqueue_typed(stream, dtype(), [&]<typename T>(cudaStream_t handle, T) {
    cuda::attention_forward(cuda::AttentionForward<T>{.sizes = sizes_of(shape),
                                                      .qkv = elements<T>(qkv),
                                                      .out = elements<T>(out),
                                                      .log_sum_exp = elements<float>(log_sum_exp),
                                                      .dropout = mask_of(dropout)},
                            handle);
  });
}

void CudaKernels::do_attention_backward(Stream& stream, const AttentionShape& shape, Tensor dout,
                                        Tensor qkv, Tensor out, Tensor log_sum_exp,
                                        const Dropout& dropout, Tensor dqkv, Tensor workspace) {
  check_channels(shape);
  enqueue_typed(stream, dtype(), [&]<typename T>(cudaStream_t handle, T) {
    cuda::attention_backward(
        cuda::AttentionBackward<T>{.sizes = sizes_of(shape),
                                   .dout = elements<T>(dout),
                                   .qkv = elements<T>(qkv),
                                   .out = elements<T>(out),
                                   .log_sum_exp = elements<float>(log_sum_exp),
                                   .dqkv = elements<T>(dqkv),
                                   .workspace = static_cast<float*>(workspace.data()),
                                   .dropout = mask_of(dropout)},
        handle);
  });
}

}  // namespace leasehold
