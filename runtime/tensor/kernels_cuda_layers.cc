// Norms, SwiGLU, embeddings and cross entropy of CudaKernels.
#include <limits>

#include "runtime/tensor/cuda/cross_entropy.h"
#include "runtime/tensor/cuda/embedding.h"
#include "runtime/tensor/cuda/norm.h"
#include "runtime/tensor/cuda/swiglu.h"
#include "runtime/tensor/kernels_cuda.h"
#include "runtime/tensor/kernels_cuda_arguments.h"

namespace leasehold {

namespace {

void forward_norm(Stream& stream, DType dtype, const Tensor& x, const Tensor& delta,
                  const Dropout& dropout, const Tensor& sum, const Tensor& weight,
                  const Tensor& bias, double eps, const Tensor& y, const Tensor& mean,
                  const Tensor& rstd) {
  enqueue_typed(stream, dtype, [&]<typename T>(cudaStream_t handle, T) {
    cuda::norm_forward<T>({.N = x.dim(0),
                           .C = x.dim(1),
                           .x = elements<T>(x),
                           .delta = elements<T>(delta),
                           .dropout = mask_of(dropout),
                           .sum = elements<T>(sum),
                           .weight = elements<T>(weight),
                           .bias = elements<T>(bias),
                           .eps = static_cast<float>(eps),
                           .y = elements<T>(y),
                           .mean = elements<float>(mean),
                           .rstd = elements<float>(rstd)},
                          handle);
  });
}

void backward_norm(Stream& stream, DType dtype, const Tensor& dy, const Tensor& input,
                   const Tensor& weight, const Tensor& mean, const Tensor& rstd,
                   const Tensor& dresidual, const Tensor& dx, const Tensor& dweight,
                   const Tensor& dbias, Write write, const Tensor& workspace) {
  enqueue_typed(stream, dtype, [&]<typename T>(cudaStream_t handle, T) {
    cuda::norm_backward<T>({.N = dy.dim(0),
                            .C = dy.dim(1),
                            .dy = elements<T>(dy),
                            .input = elements<T>(input),
                            .weight = elements<T>(weight),
                            .mean = elements<float>(mean),
                            .rstd = elements<float>(rstd),
                            .dresidual = elements<T>(dresidual),
                            .dx = elements<T>(dx),
                            .dweight = elements<float>(dweight),
                            .dbias = elements<float>(dbias),
                            .accumulate = write == Write::kAccumulate,
                            .workspace = static_cast<float*>(workspace.data())},
                           handle);
  });
}

cuda::Tokens tokens_of(Stream& stream, const Tensor& tokens, int64_t V,
                       const VocabularyShard& shard) {
  LEASEHOLD_CHECK(tokens.num_elements() <= std::numeric_limits<int32_t>::max(),
                  "embedding: {} tokens in one call", tokens.num_elements());
  return {.B = tokens.dim(0),
          .T = tokens.dim(1),
          .ids = tokens.as<int32_t>(),
          .V = V,
          .shard_index = shard.index,
          .num_shards = shard.count,
          .fault = CudaStream::from(stream).fault()};
}

template <typename T>
cuda::Logits<T> logits_of(Stream& stream, const Tensor& logits, int64_t N, const Tensor& targets,
                          const VocabularyShard& shard) {
  return {.N = N,
          .V = logits.present() ? logits.dim(1) : 0,
          .stride = logits.present() ? logits.row_stride() : 0,
          .values = elements<T>(logits),
          .targets = targets.as<int32_t>(),
          .shard_index = shard.index,
          .num_shards = shard.count,
          .fault = CudaStream::from(stream).fault()};
}

double* doubles(const Tensor& workspace) { return static_cast<double*>(workspace.data()); }

}  // namespace

void CudaKernels::do_layer_norm_forward(Stream& stream, Tensor x, Tensor delta,
                                        const Dropout& dropout, Tensor sum, Tensor weight,
                                        Tensor bias, double eps, Tensor y, Tensor mean,
                                        Tensor rstd) {
  forward_norm(stream, dtype(), x, delta, dropout, sum, weight, bias, eps, y, mean, rstd);
}

void CudaKernels::do_layer_norm_backward(Stream& stream, Tensor dy, Tensor input, Tensor weight,
                                         Tensor mean, Tensor rstd, Tensor dresidual, Tensor dx,
                                         Tensor dweight, Tensor dbias, Write write,
                                         Tensor workspace) {
  backward_norm(stream, dtype(), dy, input, weight, mean, rstd, dresidual, dx, dweight, dbias,
                write, workspace);
}

void CudaKernels::do_rms_norm_forward(Stream& stream, Tensor x, Tensor delta,
                                      const Dropout& dropout, Tensor sum, Tensor weight, double eps,
                                      Tensor y, Tensor rstd) {
  forward_norm(stream, dtype(), x, delta, dropout, sum, weight, {}, eps, y, {}, rstd);
}

void CudaKernels::do_rms_norm_backward(Stream& stream, Tensor dy, Tensor input, Tensor weight,
                                       Tensor rstd, Tensor dresidual, Tensor dx, Tensor dweight,
                                       Write write, Tensor workspace) {
  backward_norm(stream, dtype(), dy, input, weight, {}, rstd, dresidual, dx, dweight, {}, write,
                workspace);
}

void CudaKernels::do_swiglu_forward(Stream& stream, Tensor gate_up, Tensor y) {
  enqueue_typed(stream, dtype(), [&]<typename T>(cudaStream_t handle, T) {
    cuda::swiglu_forward<T>(elements<T>(gate_up), elements<T>(y), y.dim(0), y.dim(1), handle);
  });
}

void CudaKernels::do_swiglu_backward(Stream& stream, Tensor dy, Tensor gate_up, Tensor dgate_up) {
  enqueue_typed(stream, dtype(), [&]<typename T>(cudaStream_t handle, T) {
    cuda::swiglu_backward<T>(elements<T>(dy), elements<T>(gate_up), elements<T>(dgate_up),
                             dy.dim(0), dy.dim(1), handle);
  });
}

void CudaKernels::do_embedding_forward(Stream& stream, Tensor tokens, Tensor token_weight,
                                       Tensor position_weight, const Dropout& dropout, Tensor out,
                                       const VocabularyShard& shard) {
  enqueue_typed(stream, dtype(), [&]<typename T>(cudaStream_t handle, T) {
    cuda::embedding_forward<T>({.tokens = tokens_of(stream, tokens, token_weight.dim(0), shard),
                                .C = token_weight.dim(1),
                                .token_weight = elements<T>(token_weight),
                                .position_weight = elements<T>(position_weight),
                                .dropout = mask_of(dropout),
                                .out = elements<T>(out)},
                               handle);
  });
}

void CudaKernels::do_embedding_backward(Stream& stream, Tensor tokens, Tensor dout,
                                        const Dropout& dropout, Tensor dtoken_weight,
                                        Tensor dposition_weight, Write write, Tensor workspace,
                                        const VocabularyShard& shard) {
  enqueue_typed(stream, dtype(), [&]<typename T>(cudaStream_t handle, T) {
    cuda::embedding_backward<T>(
        {.tokens = tokens_of(stream, tokens, dtoken_weight.dim(0), shard),
         .C = dtoken_weight.dim(1),
         .dout = elements<T>(dout),
         .dropout = mask_of(dropout),
         .dtoken_weight = elements<float>(dtoken_weight),
         .dposition_weight = elements<float>(dposition_weight),
         .num_positions = dposition_weight.present() ? dposition_weight.dim(0) : 0,
         .accumulate = write == Write::kAccumulate,
         .workspace = workspace.data()},
        handle);
  });
}

void CudaKernels::do_cross_entropy(Stream& stream, Tensor logits, Tensor targets,
                                   float gradient_scale, Tensor loss, Tensor workspace) {
  enqueue_typed(stream, dtype(), [&]<typename T>(cudaStream_t handle, T) {
    cuda::cross_entropy<T>(logits_of<T>(stream, logits, targets.dim(0), targets, {}),
                           gradient_scale, doubles(workspace), loss.as<double>(), handle);
  });
}

void CudaKernels::do_cross_entropy_statistics(Stream& stream, Tensor logits, Tensor targets,
                                              const VocabularyShard& shard, bool,
                                              Tensor statistics) {
  enqueue_typed(stream, dtype(), [&]<typename T>(cudaStream_t handle, T) {
    cuda::cross_entropy_statistics<T>(logits_of<T>(stream, logits, targets.dim(0), targets, shard),
                                      statistics.as<double>(), handle);
  });
}

void CudaKernels::do_cross_entropy_from_statistics(Stream& stream, Tensor statistics,
                                                   Tensor targets, const VocabularyShard& shard,
                                                   float gradient_scale, Tensor logits, Tensor loss,
                                                   Tensor workspace) {
  enqueue_typed(stream, dtype(), [&]<typename T>(cudaStream_t handle, T) {
    cuda::cross_entropy_from_statistics<T>(
        logits_of<T>(stream, logits, targets.dim(0), targets, shard), statistics.as<double>(),
        gradient_scale, doubles(workspace), loss.as<double>(), handle);
  });
}

}  // namespace leasehold
