// What rows of the roofline are made of: the buffers of an operation, and one function for each
// family of operations. Letters as in runtime/tensor/kernels.h; F channels inside the mlp, e bytes
// of an element of dtype(), g of gradient_dtype(), n elements.
#pragma once

#include <fmt/format.h>
#include <string>
#include <vector>

#include "bench/roofline_operations.h"
#include "models/describe.h"
#include "runtime/tensor/kernels.h"

namespace leasehold {

struct RooflineAttention {
  Tensor qkv, out, log_sum_exp, workspace;
};

// What the rows' functions take along: they outlive the object that makes them.
struct RooflineBuffers {
  Kernels* kernels;
  Stream* stream;
  int64_t vocab;

  // Without noise a tensor is an output, or only measured.
  Tensor working(Arena& arena, Noise* noise, const Shape& shape) const {
    const Tensor tensor = arena.allocate(kernels->dtype(), shape);
    if (noise != nullptr) noise->fill(tensor);
    return tensor;
  }
  Tensor exact(Arena& arena, Noise* noise, const Shape& shape) const {
    const Tensor tensor = arena.allocate(kernels->gradient_dtype(), shape);
    if (noise != nullptr) noise->fill(tensor);
    return tensor;
  }
  Tensor positive(Arena& arena, Noise* noise, const Shape& shape) const {
    const Tensor tensor = arena.allocate(kernels->gradient_dtype(), shape);
    if (noise != nullptr) noise->fill_positive(tensor);
    return tensor;
  }
  Tensor bytes(Arena& arena, int64_t count) const { return arena.allocate(DType::kU8, {count}); }
  Tensor ids(Arena& arena, Noise* noise, int64_t count) const {
    const Tensor tensor = arena.allocate(DType::kI32, {count});
    if (noise != nullptr) noise->fill_ids(tensor, vocab);
    return tensor;
  }

  static Shape qkv_shape(const AttentionShape& shape) {
    return {shape.B, shape.T, shape.G, shape.R + 2, shape.D};
  }
  RooflineAttention attend(Arena& arena, Noise* noise, const AttentionShape& shape) const {
    return {working(arena, noise, qkv_shape(shape)),
            working(arena, nullptr, {shape.B, shape.T, shape.H(), shape.D}),
            exact(arena, nullptr, {shape.B, shape.H(), shape.T}),
            bytes(arena, kernels->attention_workspace_bytes(shape))};
  }
  void forward(const AttentionShape& shape, const Dropout& dropout,
               const RooflineAttention& saved) const {
    kernels->attention_forward(*stream, shape, saved.qkv, dropout, saved.out, saved.log_sum_exp,
                               saved.workspace);
  }
};

// Makes the rows of one model, each family's when it is asked for. Buffers are filled where
// contents could matter: with zeros, products take less power, and norms divide by them.
class RooflineRows {
 public:
  RooflineRows(const ModelConfig& model, int64_t B, Kernels& kernels, Stream& stream)
      : model_(model),
        B_(B),
        T_(model.sequence),
        N_(B * model.sequence),
        C_(model.hidden),
        e_(as_double(size_of(kernels.dtype()))),
        g_(as_double(size_of(kernels.gradient_dtype()))),
        at_{&kernels, &stream, model.vocab} {}

  std::vector<RooflineOperation> take() { return std::move(rows_); }

  // The three products of a linear that is called `calls` times each.
  void linear(const std::string& name, int64_t N, int64_t K, int64_t O, Activation activation,
              Activation input_activation, bool has_bias, double calls);
  // Of the model's step.
  void linears();
  // A layer has two norms forward, one of a sum that it forms. The head's takes no sum.
  void layer_norm(double layers);
  void rms_norm(double layers);
  void swiglu(int64_t F, double calls);
  void residual_add(const Dropout& dropout, const std::string& name, double calls);
  // Forward reads a row of the table for each token, and the positions once.
  void embedding();
  void rotary(const AttentionShape& shape, const Rotary& rotary, double calls);
  void attention(const AttentionShape& shape, const Dropout& dropout, const std::string& suffix,
                 double calls);
  void cross_entropy();
  // A vocabulary over two ranks, seen by the first.
  void sharded_cross_entropy();
  // All parameters in one call, where a step makes a call for each.
  void optimizer();
  // What reductions over lanes, ranks and precisions are made of, over the largest bucket of
  // gradients that is exchanged at a time.
  void sums();
  AttentionShape attention_shape() const;

 private:
  static double as_double(int64_t value) { return static_cast<double>(value); }
  static std::string text(const AttentionShape& shape) {
    return fmt::format("B {} T {} H {} G {} D {}", shape.B, shape.T, shape.H(), shape.G, shape.D);
  }

  void add(RooflineOperation row) { rows_.push_back(std::move(row)); }

  ModelConfig model_;
  int64_t B_, T_, N_, C_;
  double e_, g_;
  RooflineBuffers at_;
  std::vector<RooflineOperation> rows_;
};

}  // namespace leasehold
