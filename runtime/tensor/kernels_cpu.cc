// Kernels on the CPU: unpacks tensors into the plain structs of kernels_cpu.h and enqueues them.
#include "runtime/tensor/kernels_cpu.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "runtime/device/cpu_stream.h"
#include "runtime/tensor/blas/blas.h"
#include "runtime/tensor/kernels_cpu_attention.h"
#include "runtime/tensor/kernels_cpu_elements.h"
#include "runtime/tensor/kernels_cpu_gemm_bf16.h"

namespace leasehold {

namespace {

// An absent tensor is null.
template <typename E>
E* elements(const Tensor& tensor) {
  return tensor.present() ? tensor.as<E>() : nullptr;
}
// Of gradient_dtype().
float* floats(const Tensor& tensor) { return elements<float>(tensor); }

void check_blas_extents(const Tensor& tensor) {
  for (const int64_t extent : tensor.shape().extents()) {
    LEASEHOLD_CHECK(extent <= std::numeric_limits<blasint>::max(), "{} is too large for OpenBLAS",
                    tensor.shape().to_string());
  }
  LEASEHOLD_CHECK(tensor.row_stride() <= std::numeric_limits<blasint>::max(),
                  "rows that begin {} elements apart are too far apart for OpenBLAS",
                  tensor.row_stride());
}

// E: float or Bf16.
template <typename E>
class CpuKernels : public Kernels {
 public:
  explicit CpuKernels(CpuDevice& device) : pool_(device.thread_pool()) {
    blas::library();  // opens it, unless it is open: here a failure is heard
    if (cpu::kIsNarrow<E>)
      panels_.resize(static_cast<size_t>(pool_.num_threads() * cpu::kPanelFloats));
  }

  DType dtype() const override { return DTypeOf<E>::value; }
  const char* name() const override { return "cpu"; }

  std::string arithmetic_class() const override {
    // A tile size that stands for the rule.
    const cpu::TileGrid tiles = cpu::plan_tiles(cpu::Product{.M = 2048, .N = 3072, .K = 768});
    const std::string common =
        fmt::format("cpu kernels {}; {}; core {}; {}; tiles {} x {}, {} query rows", cpu::kRevision,
                    blas::library().config, blas::library().kernel_set, LEASEHOLD_INSTRUCTION_SET,
                    tiles.rows, tiles.columns, cpu::kQueryRows);
    if (!cpu::kIsNarrow<E>) return common;
    return fmt::format("{}; bf16 in panels {} x {} x {}", common, cpu::kPanelRows,
                       cpu::kPanelColumns, cpu::kPanelDepth);
  }

  int64_t layer_norm_backward_workspace_bytes(int64_t N, int64_t C) const override {
    return cpu::layer_norm_backward_workspace_bytes(N, C);
  }
  int64_t rms_norm_backward_workspace_bytes(int64_t N, int64_t C) const override {
    return cpu::rms_norm_backward_workspace_bytes(N, C);
  }
  int64_t embedding_backward_workspace_bytes(int64_t N, int64_t, int64_t) const override {
    return cpu::embedding_backward_workspace_bytes(N);
  }
  int64_t attention_workspace_bytes(const AttentionShape& shape) const override {
    return std::max(cpu::attention_forward_workspace_bytes<E>(shape, pool_.num_threads()),
                    cpu::attention_backward_workspace_bytes<E>(shape, pool_.num_threads()));
  }
  bool has_cached_attention() const override { return true; }
  int64_t attention_cached_workspace_bytes(const AttentionShape& shape,
                                           int64_t positions) const override {
    return cpu::attention_cached_workspace_bytes<E>(shape, positions, pool_.num_threads());
  }
  int64_t cross_entropy_workspace_bytes(int64_t N, int64_t) const override {
    return cpu::cross_entropy_workspace_bytes(N);
  }

 protected:
  void do_linear_forward(Stream& stream, Tensor x, Tensor weight, Tensor bias,
                         Activation activation, Tensor pre, Tensor y) override {
    check_blas_extents(y);
    enqueue(stream, cpu::LinearForward<E>{x.dim(0), x.dim(1), weight.dim(0), y.row_stride(),
                                          elements(x), elements(weight), elements(bias), activation,
                                          elements(pre), elements(y), panels_.data()});
  }
  void do_linear_backward_input(Stream& stream, Tensor dy, Tensor weight, Activation activation,
                                Tensor pre, Tensor dx, Write write) override {
    check_blas_extents(dy);
    enqueue(stream,
            cpu::LinearBackwardInput<E>{dy.dim(0), weight.dim(1), weight.dim(0), dy.row_stride(),
                                        elements(dy), elements(weight), activation, elements(pre),
                                        elements(dx), write, panels_.data()});
  }
  void do_linear_backward_weight(Stream& stream, Tensor dy, Tensor x, Tensor dweight, Tensor dbias,
                                 Write write) override {
    check_blas_extents(dy);
    enqueue(stream, cpu::LinearBackwardWeight<E>{dy.dim(0), x.dim(1), dy.dim(1), dy.row_stride(),
                                                 elements(dy), elements(x), floats(dweight),
                                                 floats(dbias), write, panels_.data()});
  }

  void do_layer_norm_forward(Stream& stream, Tensor x, Tensor delta, const Dropout& dropout,
                             Tensor sum, Tensor weight, Tensor bias, double eps, Tensor y,
                             Tensor mean, Tensor rstd) override {
    enqueue(stream, cpu::LayerNormForward<E>{x.dim(0), x.dim(1), elements(x), elements(delta),
                                             dropout, elements(sum), elements(weight),
                                             elements(bias), static_cast<float>(eps), elements(y),
                                             floats(mean), floats(rstd)});
  }
  void do_layer_norm_backward(Stream& stream, Tensor dy, Tensor input, Tensor weight, Tensor mean,
                              Tensor rstd, Tensor dresidual, Tensor dx, Tensor dweight,
                              Tensor dbias, Write write, Tensor workspace) override {
    enqueue(stream, cpu::LayerNormBackward<E>{dy.dim(0), dy.dim(1), elements(dy), elements(input),
                                              elements(weight), floats(mean), floats(rstd),
                                              elements(dresidual), elements(dx), floats(dweight),
                                              floats(dbias), write, workspace.data()});
  }
  void do_rms_norm_forward(Stream& stream, Tensor x, Tensor delta, const Dropout& dropout,
                           Tensor sum, Tensor weight, double eps, Tensor y, Tensor rstd) override {
    enqueue(stream, cpu::RmsNormForward<E>{x.dim(0), x.dim(1), elements(x), elements(delta),
                                           dropout, elements(sum), elements(weight),
                                           static_cast<float>(eps), elements(y), floats(rstd)});
  }
  void do_rms_norm_backward(Stream& stream, Tensor dy, Tensor input, Tensor weight, Tensor rstd,
                            Tensor dresidual, Tensor dx, Tensor dweight, Write write,
                            Tensor workspace) override {
    enqueue(stream,
            cpu::RmsNormBackward<E>{dy.dim(0), dy.dim(1), elements(dy), elements(input),
                                    elements(weight), floats(rstd), elements(dresidual),
                                    elements(dx), floats(dweight), write, workspace.data()});
  }
  void do_swiglu_forward(Stream& stream, Tensor gate_up, Tensor y) override {
    enqueue(stream, cpu::SwigluForward<E>{y.dim(0), y.dim(1), elements(gate_up), elements(y)});
  }
  void do_swiglu_backward(Stream& stream, Tensor dy, Tensor gate_up, Tensor dgate_up) override {
    enqueue(stream, cpu::SwigluBackward<E>{dy.dim(0), dy.dim(1), elements(dy), elements(gate_up),
                                           elements(dgate_up)});
  }
  void do_residual_add(Stream& stream, Tensor x, Tensor delta, const Dropout& dropout,
                       Tensor result) override {
    enqueue(stream, cpu::ResidualAdd<E>{result.num_elements(), elements(x), elements(delta),
                                        dropout, elements(result)});
  }

  void do_embedding_forward(Stream& stream, Tensor tokens, Tensor token_weight,
                            Tensor position_weight, const Dropout& dropout, Tensor result,
                            const VocabularyShard& shard) override {
    enqueue(stream, cpu::EmbeddingForward<E>{tokens.dim(0), tokens.dim(1), token_weight.dim(0),
                                             token_weight.dim(1), shard, tokens.as<int32_t>(),
                                             elements(token_weight), elements(position_weight),
                                             dropout, elements(result)});
  }
  void do_embedding_backward(Stream& stream, Tensor tokens, Tensor dout, const Dropout& dropout,
                             Tensor dtoken_weight, Tensor dposition_weight, Write write,
                             Tensor workspace, const VocabularyShard& shard) override {
    const int64_t num_positions = dposition_weight.present() ? dposition_weight.dim(0) : 0;
    enqueue(stream, cpu::EmbeddingBackward<E>{
                        tokens.dim(0), tokens.dim(1), dtoken_weight.dim(0), dtoken_weight.dim(1),
                        num_positions, shard, tokens.as<int32_t>(), elements(dout), dropout,
                        floats(dtoken_weight), floats(dposition_weight), write, workspace.data()});
  }

  void do_rotary(Stream& stream, const AttentionShape& shape, const Rotary& rotary, Tensor qkv,
                 bool backward) override {
    enqueue(stream, cpu::RotaryTurn<E>{shape, rotary, elements(qkv), backward});
  }
  void do_attention_forward(Stream& stream, const AttentionShape& shape, Tensor qkv,
                            const Dropout& dropout, Tensor result, Tensor log_sum_exp,
                            Tensor workspace) override {
    check_blas_extents(qkv.reshape({shape.B, shape.T, cpu::qkv_stride(shape)}));
    enqueue(stream, cpu::AttentionForward<E>{shape, elements(qkv), dropout, elements(result),
                                             floats(log_sum_exp), workspace.data()});
  }
  void do_attention_cached(Stream& stream, const AttentionShape& shape, Tensor qkv, Tensor kv,
                           Tensor result, Tensor workspace) override {
    check_blas_extents(qkv.reshape({shape.B, shape.T, cpu::qkv_stride(shape)}));
    enqueue(stream, cpu::AttentionCached<E>{shape, kv.dim(1), elements(qkv), elements(kv),
                                            elements(result), workspace.data()});
  }
  void do_attention_backward(Stream& stream, const AttentionShape& shape, Tensor dout, Tensor qkv,
                             Tensor result, Tensor log_sum_exp, const Dropout& dropout, Tensor dqkv,
                             Tensor workspace) override {
    check_blas_extents(qkv.reshape({shape.B, shape.T, cpu::qkv_stride(shape)}));
    enqueue(stream, cpu::AttentionBackward<E>{shape, elements(dout), elements(qkv),
                                              elements(result), floats(log_sum_exp), dropout,
                                              elements(dqkv), workspace.data()});
  }

  void do_cross_entropy(Stream& stream, Tensor logits, Tensor targets, float gradient_scale,
                        Tensor loss, Tensor workspace) override {
    enqueue(stream, cpu::CrossEntropy<E>{logits.dim(0), logits.dim(1), logits.row_stride(),
                                         elements(logits), targets.as<int32_t>(), gradient_scale,
                                         loss.as<double>(), workspace.data()});
  }

  void do_cross_entropy_statistics(Stream& stream, Tensor logits, Tensor targets,
                                   const VocabularyShard& shard, bool for_gradient,
                                   Tensor statistics) override {
    enqueue(stream, cpu::CrossEntropyStatistics<E>{
                        logits.dim(0), logits.dim(1), logits.row_stride(), shard, elements(logits),
                        targets.as<int32_t>(), for_gradient, statistics.as<double>()});
  }
  void do_cross_entropy_from_statistics(Stream& stream, Tensor statistics, Tensor targets,
                                        const VocabularyShard& shard, float gradient_scale,
                                        Tensor logits, Tensor loss, Tensor workspace) override {
    enqueue(stream, cpu::CrossEntropyFromStatistics<E>{
                        statistics.dim(1), logits.present() ? logits.dim(1) : 0,
                        logits.present() ? logits.row_stride() : 0, shard, statistics.as<double>(),
                        targets.as<int32_t>(), gradient_scale, elements(logits), loss.as<double>(),
                        workspace.data()});
  }

  void do_add(Stream& stream, Tensor left, Tensor right, Tensor result) override {
    enqueue(stream, cpu::Add{result.num_elements(), result.dtype(), left.data(), right.data(),
                             result.data()});
  }
  void do_sum_parts(Stream& stream, Tensor parts, Tensor result) override {
    enqueue(stream, cpu::SumParts<E>{parts.dim(0), result.num_elements(), elements(parts),
                                     elements(result)});
  }
  void do_fill(Stream& stream, Tensor result, float value) override {
    enqueue(stream, cpu::Fill{result.num_elements(), result.dtype(), value, result.data()});
  }
  void do_cast(Stream& stream, Tensor from, Tensor to) override {
    enqueue(stream,
            cpu::Cast{from.num_elements(), from.dtype(), to.dtype(), from.data(), to.data()});
  }
  void do_squared_norms(Stream& stream, Tensor x, float scale, Tensor sums) override {
    enqueue(stream, cpu::SquaredNorms{x.num_elements(), floats(x), scale, sums.as<double>()});
  }
  void do_adamw(Stream& stream, const AdamWStep& step, Tensor parameter, Tensor gradient, Tensor m,
                Tensor v, Tensor working) override {
    enqueue(stream, cpu::AdamW{parameter.num_elements(), step, floats(parameter), floats(gradient),
                               floats(m), floats(v), leasehold::elements<Bf16>(working)});
  }

 private:
  static E* elements(const Tensor& tensor) { return leasehold::elements<E>(tensor); }

  template <typename Work>
  void enqueue(Stream& stream, const Work& work) {
    CpuStream::from(stream).enqueue([pool = &pool_, work] { cpu::run(*pool, work); });
  }

  ThreadPool& pool_;
  std::vector<float> panels_;  // of the pool's workers
};

}  // namespace

std::unique_ptr<Kernels> create_cpu_kernels(CpuDevice& device, DType dtype) {
  LEASEHOLD_CHECK(dtype == DType::kF32 || dtype == DType::kBf16, "cpu kernels of {}",
                  dtype_name(dtype));
  if (dtype == DType::kBf16) return std::make_unique<CpuKernels<Bf16>>(device);
  return std::make_unique<CpuKernels<float>>(device);
}

}  // namespace leasehold
