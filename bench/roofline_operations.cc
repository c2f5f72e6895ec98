// Letters as in runtime/tensor/kernels.h; F channels inside the mlp, e bytes of an element of
// dtype(), g of gradient_dtype(), n elements.
#include "bench/roofline_operations.h"

#include <algorithm>

#include "bench/formulas.h"
#include "models/family.h"
#include "models/head.h"
#include "runtime/train/engine.h"

namespace leasehold {

namespace {

double as_double(int64_t value) { return static_cast<double>(value); }

constexpr double kG = 4;  // bytes of an element of gradient_dtype()

struct Attended {
  Tensor qkv, out, log_sum_exp, workspace;
};

// What the rows' functions take along: they outlive the object that makes them.
struct Buffers {
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
  Attended attend(Arena& arena, Noise* noise, const AttentionShape& shape) const {
    return {working(arena, noise, qkv_shape(shape)),
            working(arena, nullptr, {shape.B, shape.T, shape.H(), shape.D}),
            exact(arena, nullptr, {shape.B, shape.H(), shape.T}),
            bytes(arena, kernels->attention_workspace_bytes(shape))};
  }
  void forward(const AttentionShape& shape, const Dropout& dropout, const Attended& saved) const {
    kernels->attention_forward(*stream, shape, saved.qkv, dropout, saved.out, saved.log_sum_exp,
                               saved.workspace);
  }
};

// Makes the rows of one model. Buffers are filled where contents could matter: with zeros, products
// take less power, and norms divide by them.
class Operations {
 public:
  Operations(const ModelConfig& model, int64_t B, Kernels& kernels, Stream& stream)
      : model_(model),
        B_(B),
        T_(model.sequence),
        N_(B * model.sequence),
        C_(model.hidden),
        e_(as_double(size_of(kernels.dtype()))),
        at_{&kernels, &stream, model.vocab} {}

  std::vector<RooflineOperation> take() { return std::move(rows_); }

  // The three products of a linear that is called `calls` times each.
  void linear(const std::string& name, int64_t N, int64_t K, int64_t O, Activation activation,
              Activation input_activation, bool has_bias, double calls) {
    const Buffers at = at_;
    const std::string shape = fmt::format("N {} K {} O {}", N, K, O);
    const double flops = linear_flops(N, K, O);
    const double in = as_double(N * K), out = as_double(N * O), matrix = as_double(O * K);
    const bool gelu = activation == Activation::kGelu;
    const bool gelu_before = input_activation == Activation::kGelu;
    add({name + ".forward", shape, flops, e_ * (in + matrix + (gelu ? 2 : 1) * out), calls,
         [=](Arena& arena, Noise* noise) {
           const Tensor x = at.working(arena, noise, {N, K}),
                        weight = at.working(arena, noise, {O, K});
           const Tensor bias = has_bias ? at.working(arena, noise, {O}) : Tensor();
           const Tensor y = at.working(arena, nullptr, {N, O});
           const Tensor pre = gelu ? at.working(arena, nullptr, {N, O}) : Tensor();
           return
               [=] { at.kernels->linear_forward(*at.stream, x, weight, bias, activation, pre, y); };
         }});
    add({name + ".input_gradient", shape, flops, e_ * (out + matrix + (gelu_before ? 2 : 1) * in),
         calls, [=](Arena& arena, Noise* noise) {
           const Tensor dy = at.working(arena, noise, {N, O}),
                        weight = at.working(arena, noise, {O, K});
           const Tensor pre = gelu_before ? at.working(arena, noise, {N, K}) : Tensor();
           const Tensor dx = at.working(arena, nullptr, {N, K});
           return [=] {
             at.kernels->linear_backward_input(*at.stream, dy, weight, input_activation, pre, dx,
                                               Write::kOverwrite);
           };
         }});
    add({name + ".weight_gradient", shape, flops, e_ * (in + out) + kG * matrix, calls,
         [=](Arena& arena, Noise* noise) {
           const Tensor dy = at.working(arena, noise, {N, O}), x = at.working(arena, noise, {N, K});
           const Tensor dweight = at.exact(arena, nullptr, {O, K});
           const Tensor dbias = has_bias ? at.exact(arena, nullptr, {O}) : Tensor();
           return [=] {
             at.kernels->linear_backward_weight(*at.stream, dy, x, dweight, dbias,
                                                Write::kOverwrite);
           };
         }});
  }

  void linears() {
    const auto layers = as_double(model_.layers);
    const bool biases = family_options(model_).biases, gated = family_options(model_).gated_mlp;
    const int64_t F = model_.ffn, D = model_.head_dim();
    const Activation inside = gated ? Activation::kNone : Activation::kGelu;
    linear("qkv", N_, C_, (model_.heads + 2 * model_.kv_heads) * D, Activation::kNone,
           Activation::kNone, biases, layers);
    linear("projection", N_, C_, C_, Activation::kNone, Activation::kNone, biases, layers);
    linear("mlp_up", N_, C_, (gated ? 2 : 1) * F, inside, Activation::kNone, biases, layers);
    linear("mlp_down", N_, F, C_, Activation::kNone, inside, biases, layers);
    const int64_t rows = Head::rows_per_chunk(N_, model_.vocab);
    linear("head", rows, C_, model_.vocab, Activation::kNone, Activation::kNone, false,
           as_double((N_ + rows - 1) / rows));
  }

  // A layer has two norms forward, one of a sum that it forms; the head's is computed again in
  // backward's place.
  void layer_norm(double layers) {
    const Buffers at = at_;
    const std::string shape = fmt::format("N {} C {}", N_, C_);
    const int64_t N = N_, C = C_;
    const auto forward = [=](bool adds) -> RooflineTimer::Make {
      return [=](Arena& arena, Noise* noise) {
        const Tensor x = at.working(arena, noise, {N, C}), y = at.working(arena, nullptr, {N, C});
        const Tensor delta = adds ? at.working(arena, noise, {N, C}) : Tensor();
        const Tensor sum = adds ? at.working(arena, nullptr, {N, C}) : Tensor();
        const Tensor weight = at.working(arena, noise, {C}), bias = at.working(arena, noise, {C});
        const Tensor mean = at.exact(arena, nullptr, {N}), rstd = at.exact(arena, nullptr, {N});
        return [=] {
          at.kernels->layer_norm_forward(*at.stream, x, delta, {}, sum, weight, bias, 1e-5, y, mean,
                                         rstd);
        };
      };
    };
    const double rows = e_ * as_double(N * C);
    const double kept = 2 * kG * as_double(N);
    add({"layer_norm.forward", shape, 0, 2 * rows + kept, layers > 0 ? layers + 1 : 0,
         forward(false)});
    add({"layer_norm.forward of a sum", shape, 0, 4 * rows + kept, layers, forward(true)});
    add({"layer_norm.backward", shape, 0, 4 * rows + kept, layers > 0 ? 2 * layers + 1 : 0,
         [=](Arena& arena, Noise* noise) {
           const Tensor dy = at.working(arena, noise, {N, C}),
                        input = at.working(arena, noise, {N, C});
           const Tensor residual = at.working(arena, noise, {N, C});
           const Tensor dx = at.working(arena, nullptr, {N, C}),
                        weight = at.working(arena, noise, {C});
           const Tensor mean = at.exact(arena, noise, {N}), rstd = at.positive(arena, noise, {N});
           const Tensor dweight = at.exact(arena, nullptr, {C}),
                        dbias = at.exact(arena, nullptr, {C});
           const Tensor workspace =
               at.bytes(arena, at.kernels->layer_norm_backward_workspace_bytes(N, C));
           return [=] {
             at.kernels->layer_norm_backward(*at.stream, dy, input, weight, mean, rstd, residual,
                                             dx, dweight, dbias, Write::kOverwrite, workspace);
           };
         }});
  }

  void rms_norm(double layers) {
    const Buffers at = at_;
    const std::string shape = fmt::format("N {} C {}", N_, C_);
    const int64_t N = N_, C = C_;
    const auto forward = [=](bool adds) -> RooflineTimer::Make {
      return [=](Arena& arena, Noise* noise) {
        const Tensor x = at.working(arena, noise, {N, C}), y = at.working(arena, nullptr, {N, C});
        const Tensor delta = adds ? at.working(arena, noise, {N, C}) : Tensor();
        const Tensor sum = adds ? at.working(arena, nullptr, {N, C}) : Tensor();
        const Tensor weight = at.working(arena, noise, {C}), rstd = at.exact(arena, nullptr, {N});
        return [=] {
          at.kernels->rms_norm_forward(*at.stream, x, delta, {}, sum, weight, 1e-5, y, rstd);
        };
      };
    };
    const double rows = e_ * as_double(N * C);
    const double kept = kG * as_double(N);
    add({"rms_norm.forward", shape, 0, 2 * rows + kept, layers > 0 ? layers + 1 : 0,
         forward(false)});
    add({"rms_norm.forward of a sum", shape, 0, 4 * rows + kept, layers, forward(true)});
    add({"rms_norm.backward", shape, 0, 4 * rows + kept, layers > 0 ? 2 * layers + 1 : 0,
         [=](Arena& arena, Noise* noise) {
           const Tensor dy = at.working(arena, noise, {N, C}),
                        input = at.working(arena, noise, {N, C});
           const Tensor residual = at.working(arena, noise, {N, C});
           const Tensor dx = at.working(arena, nullptr, {N, C}),
                        weight = at.working(arena, noise, {C});
           const Tensor rstd = at.positive(arena, noise, {N}),
                        dweight = at.exact(arena, nullptr, {C});
           const Tensor workspace =
               at.bytes(arena, at.kernels->rms_norm_backward_workspace_bytes(N, C));
           return [=] {
             at.kernels->rms_norm_backward(*at.stream, dy, input, weight, rstd, residual, dx,
                                           dweight, Write::kOverwrite, workspace);
           };
         }});
  }

  void swiglu(int64_t F, double calls) {
    const Buffers at = at_;
    const std::string shape = fmt::format("N {} F {}", N_, F);
    const double rows = e_ * as_double(N_ * F);
    const int64_t N = N_;
    add({"swiglu.forward", shape, 0, 3 * rows, calls, [=](Arena& arena, Noise* noise) {
           const Tensor gate_up = at.working(arena, noise, {N, 2 * F});
           const Tensor y = at.working(arena, nullptr, {N, F});
           return [=] { at.kernels->swiglu_forward(*at.stream, gate_up, y); };
         }});
    add({"swiglu.backward", shape, 0, 5 * rows, calls, [=](Arena& arena, Noise* noise) {
           const Tensor gate_up = at.working(arena, noise, {N, 2 * F});
           const Tensor dy = at.working(arena, noise, {N, F});
           const Tensor dgate_up = at.working(arena, nullptr, {N, 2 * F});
           return [=] { at.kernels->swiglu_backward(*at.stream, dy, gate_up, dgate_up); };
         }});
  }

  void residual_add(const Dropout& dropout, const std::string& name, double calls) {
    const Buffers at = at_;
    const int64_t N = N_, C = C_;
    add({name, fmt::format("N {} C {}", N, C), 0, 3 * e_ * as_double(N * C), calls,
         [=](Arena& arena, Noise* noise) {
           const Tensor x = at.working(arena, noise, {N, C}),
                        delta = at.working(arena, noise, {N, C});
           const Tensor out = at.working(arena, nullptr, {N, C});
           return [=] { at.kernels->residual_add(*at.stream, x, delta, dropout, out); };
         }});
  }

  // Forward reads a row of the table for each token, and the positions once.
  void embedding() {
    const Buffers at = at_;
    const int64_t B = B_, T = T_, N = N_, C = C_, V = model_.vocab;
    const bool has_positions = family_options(model_).position_table;
    const std::string shape = fmt::format("B {} T {} V {} C {}", B, T, V, C);
    const double table_of_positions = has_positions ? as_double(T * C) : 0;
    add({"embedding.forward", shape, 0, e_ * (2 * as_double(N * C) + table_of_positions), 1,
         [=](Arena& arena, Noise* noise) {
           const Tensor tokens = at.ids(arena, noise, N).reshape({B, T});
           const Tensor table = at.working(arena, noise, {V, C}),
                        out = at.working(arena, nullptr, {N, C});
           const Tensor positions = has_positions ? at.working(arena, noise, {T, C}) : Tensor();
           return [=] {
             at.kernels->embedding_forward(*at.stream, tokens, table, positions, {}, out);
           };
         }});
    add({"embedding.backward", shape, 0,
         e_ * as_double(N * C) + kG * (as_double(V * C) + table_of_positions), 1,
         [=](Arena& arena, Noise* noise) {
           const Tensor tokens = at.ids(arena, noise, N).reshape({B, T});
           const Tensor dout = at.working(arena, noise, {N, C}),
                        dtable = at.exact(arena, nullptr, {V, C});
           const Tensor dpositions = has_positions ? at.exact(arena, nullptr, {T, C}) : Tensor();
           const Tensor workspace =
               at.bytes(arena, at.kernels->embedding_backward_workspace_bytes(N, V, C));
           return [=] {
             at.kernels->embedding_backward(*at.stream, tokens, dout, {}, dtable, dpositions,
                                            Write::kOverwrite, workspace);
           };
         }});
  }

  void rotary(const AttentionShape& shape, const Rotary& rotary, double calls) {
    const Buffers at = at_;
    const double moved = 2 * e_ * as_double(shape.B * shape.T * shape.G * (shape.R + 1) * shape.D);
    for (const bool backward : {false, true}) {
      add({backward ? "rotary.backward" : "rotary.forward", text(shape), 0, moved, calls,
           [=](Arena& arena, Noise* noise) {
             const Tensor qkv = at.working(arena, noise, Buffers::qkv_shape(shape));
             return [=] {
               if (backward) {
                 at.kernels->rotary_backward(*at.stream, shape, rotary, qkv);
               } else {
                 at.kernels->rotary_forward(*at.stream, shape, rotary, qkv);
               }
             };
           }});
    }
  }

  void attention(const AttentionShape& shape, const Dropout& dropout, const std::string& suffix,
                 double calls) {
    const Buffers at = at_;
    const auto qkv_elements = as_double(shape.B * shape.T * shape.G * (shape.R + 2) * shape.D);
    const auto out_elements = as_double(shape.B * shape.T * shape.H() * shape.D);
    const double kept = kG * as_double(shape.B * shape.H() * shape.T);
    add({"attention.forward" + suffix, text(shape), attention_forward_flops(shape),
         e_ * (qkv_elements + out_elements) + kept, calls, [=](Arena& arena, Noise* noise) {
           const Attended saved = at.attend(arena, noise, shape);
           return [=] { at.forward(shape, dropout, saved); };
         }});
    add({"attention.backward" + suffix, text(shape), attention_backward_flops(shape),
         e_ * (2 * qkv_elements + 2 * out_elements) + kept, calls, [=](Arena& arena, Noise* noise) {
           const Attended saved = at.attend(arena, noise, shape);
           const Tensor dout = at.working(arena, noise, saved.out.shape());
           const Tensor dqkv = at.working(arena, nullptr, saved.qkv.shape());
           if (noise != nullptr) at.forward(shape, dropout, saved);  // for the statistics
           return [=] {
             at.kernels->attention_backward(*at.stream, shape, dout, saved.qkv, saved.out,
                                            saved.log_sum_exp, dropout, dqkv, saved.workspace);
           };
         }});
  }

  void cross_entropy() {
    const Buffers at = at_;
    const int64_t V = model_.vocab, rows = Head::rows_per_chunk(N_, V);
    const double logits_bytes = e_ * as_double(rows * V);
    add({"cross_entropy", fmt::format("N {} V {}", rows, V), 0, 2 * logits_bytes,
         as_double((N_ + rows - 1) / rows), [=](Arena& arena, Noise* noise) {
           const Tensor logits = at.working(arena, noise, {rows, V});
           const Tensor targets = at.ids(arena, noise, rows);
           const Tensor loss = arena.allocate(DType::kF64, {1});
           const Tensor workspace =
               at.bytes(arena, at.kernels->cross_entropy_workspace_bytes(rows, V));
           return [=] {
             at.kernels->cross_entropy(*at.stream, logits, targets, 1e-3F, loss, workspace);
           };
         }});
  }

  // A vocabulary over two ranks, seen by the first.
  void sharded_cross_entropy() {
    const Buffers at = at_;
    const VocabularyShard shard{.index = 0, .count = 2};
    const int64_t V = (model_.vocab + 1) / 2, rows = Head::rows_per_chunk(N_, V);
    const std::string shape = fmt::format("N {} V {} of 2", rows, V);
    const double logits_bytes = e_ * as_double(rows * V);
    add({"cross_entropy_statistics", shape, 0, logits_bytes, 0, [=](Arena& arena, Noise* noise) {
           const Tensor logits = at.working(arena, noise, {rows, V});
           const Tensor targets = at.ids(arena, noise, rows);
           const Tensor statistics = arena.allocate(DType::kF64, {rows, 3});
           return [=] {
             at.kernels->cross_entropy_statistics(*at.stream, logits, targets, shard, true,
                                                  statistics);
           };
         }});
    add({"cross_entropy_from_statistics", shape, 0, 2 * logits_bytes, 0,
         [=](Arena& arena, Noise* noise) {
           const Tensor logits = at.working(arena, noise, {rows, V});
           const Tensor targets = at.ids(arena, noise, rows);
           const Tensor statistics = arena.allocate(DType::kF64, {2, rows, 3});
           const Tensor loss = arena.allocate(DType::kF64, {1});
           const Tensor workspace =
               at.bytes(arena, at.kernels->cross_entropy_workspace_bytes(rows, V));
           if (noise != nullptr) {
             at.kernels->cross_entropy_statistics(*at.stream, logits, targets, shard, true,
                                                  statistics.rows(0, 1).reshape({rows, 3}));
             at.kernels->cross_entropy_statistics(*at.stream, logits, targets, {1, 2}, false,
                                                  statistics.rows(1, 1).reshape({rows, 3}));
           }
           return [=] {
             at.kernels->cross_entropy_from_statistics(*at.stream, statistics, targets, shard,
                                                       1e-3F, logits, loss, workspace);
           };
         }});
  }

  // All parameters in one call, where a step makes a call for each.
  void optimizer() {
    const Buffers at = at_;
    const int64_t n = num_parameters(model_);
    const bool has_copy = at.kernels->dtype() != at.kernels->gradient_dtype();
    const std::string shape = fmt::format("n {}", n);
    add({"squared_norms", shape, 0, kG * as_double(n), 1, [=](Arena& arena, Noise* noise) {
           const Tensor gradient = at.exact(arena, noise, {n});
           const int64_t chunks = (n + Kernels::kChunk - 1) / Kernels::kChunk;
           const Tensor sums = arena.allocate(DType::kF64, {chunks});
           return [=] { at.kernels->squared_norms(*at.stream, gradient, 0.25F, sums); };
         }});
    const AdamWStep step = {1e-4, 0.9, 0.95, 1e-8, 0.1, 0.1, 0.05, 0.25, 1.0};
    add({"adamw", shape, 0, (7 * kG + (has_copy ? e_ : 0)) * as_double(n), 1,
         [=](Arena& arena, Noise* noise) {
           const Tensor parameter = at.exact(arena, noise, {n}),
                        gradient = at.exact(arena, noise, {n});
           const Tensor m = at.exact(arena, noise, {n}), v = at.positive(arena, noise, {n});
           const Tensor working_copy = has_copy ? at.working(arena, nullptr, {n}) : Tensor();
           return [=] {
             at.kernels->adamw(*at.stream, step, parameter, gradient, m, v, working_copy);
           };
         }});
  }

  // What reductions over lanes, ranks and precisions are made of, over the largest bucket of
  // gradients that is exchanged at a time.
  void sums() {
    const Buffers at = at_;
    const int64_t bucket = EngineOptions().bucket_bytes / static_cast<int64_t>(kG);
    const int64_t n = std::min(bucket, num_parameters(model_)), parts = 4;
    const std::string shape = fmt::format("n {}", n);
    add({"add of gradients", shape, 0, 3 * kG * as_double(n), 0, [=](Arena& arena, Noise* noise) {
           const Tensor left = at.exact(arena, noise, {n}), right = at.exact(arena, noise, {n});
           const Tensor out = at.exact(arena, nullptr, {n});
           return [=] { at.kernels->add(*at.stream, left, right, out); };
         }});
    add({"sum_parts", fmt::format("P {} n {}", parts, n), 0, (parts + 1) * e_ * as_double(n), 0,
         [=](Arena& arena, Noise* noise) {
           const Tensor in = at.working(arena, noise, {parts, n});
           const Tensor out = at.working(arena, nullptr, {n});
           return [=] { at.kernels->sum_parts(*at.stream, in, out); };
         }});
    add({"fill of gradients", shape, 0, kG * as_double(n), 0, [=](Arena& arena, Noise*) {
           const Tensor out = at.exact(arena, nullptr, {n});
           return [=] { at.kernels->fill(*at.stream, out, 0); };
         }});
    add({"cast f32 to bf16", shape, 0, 6 * as_double(n), 0, [=](Arena& arena, Noise* noise) {
           const Tensor in = at.exact(arena, noise, {n}), out = arena.allocate(DType::kBf16, {n});
           return [=] { at.kernels->cast(*at.stream, in, out); };
         }});
  }

  AttentionShape attention_shape() const {
    return {.B = B_,
            .T = T_,
            .G = model_.kv_heads,
            .R = model_.heads / model_.kv_heads,
            .D = model_.head_dim()};
  }

 private:
  static std::string text(const AttentionShape& shape) {
    return fmt::format("B {} T {} H {} G {} D {}", shape.B, shape.T, shape.H(), shape.G, shape.D);
  }

  void add(RooflineOperation row) { rows_.push_back(std::move(row)); }

  ModelConfig model_;
  int64_t B_, T_, N_, C_;
  double e_;
  Buffers at_;
  std::vector<RooflineOperation> rows_;
};

}  // namespace

std::vector<RooflineOperation> step_operations(const ModelConfig& model, int64_t B,
                                               Kernels& kernels, Stream& stream) {
  const FamilyOptions family = family_options(model);
  const auto layers = as_double(model.layers);
  Operations operations(model, B, kernels, stream);
  operations.linears();
  operations.attention(operations.attention_shape(), {}, "", layers);
  if (!family.position_table)
    operations.rotary(operations.attention_shape(), rotary_of(model), layers);
  if (family.rms_norm) {
    operations.rms_norm(layers);
  } else {
    operations.layer_norm(layers);
  }
  if (family.gated_mlp) operations.swiglu(model.ffn, layers);
  operations.residual_add({}, "residual_add", layers);
  operations.embedding();
  operations.cross_entropy();
  operations.optimizer();
  return operations.take();
}

std::vector<RooflineOperation> other_operations(const ModelConfig& model, int64_t B,
                                                Kernels& kernels, Stream& stream) {
  const FamilyOptions family = family_options(model);
  const Dropout dropout = {0.1F, RandomSite::make(1, "bench"), 0};
  Operations operations(model, B, kernels, stream);
  operations.attention(operations.attention_shape(), dropout, " with dropout", 0);
  operations.residual_add(dropout, "residual_add with dropout", 0);
  if (family.position_table) operations.rotary(operations.attention_shape(), {}, 0);
  if (family.rms_norm) {
    operations.layer_norm(0);
  } else {
    operations.rms_norm(0);
  }
  if (!family.gated_mlp) operations.swiglu(model.ffn, 0);
  operations.sharded_cross_entropy();
  operations.sums();
  return operations.take();
}

std::vector<RooflineOperation> attention_operations(const AttentionShape& shape, Kernels& kernels,
                                                    Stream& stream) {
  Operations operations({}, shape.B, kernels, stream);
  operations.attention(shape, {}, "", 0);
  return operations.take();
}

RooflineOperation copy_operation(int64_t bytes, Stream& stream) {
  return {"copy",
          fmt::format("{} bytes", bytes),
          0,
          2 * as_double(bytes),
          0,
          [=, &stream](Arena& arena, Noise*) {
            const Tensor from = arena.allocate(DType::kU8, {bytes});
            const Tensor to = arena.allocate(DType::kU8, {bytes});
            return [=, &stream] { stream.copy(to.data(), from.data(), bytes); };
          }};
}

RooflineOperation square_operation(int64_t size, Kernels& kernels, Stream& stream) {
  const Buffers at{&kernels, &stream, 1};
  return {"product",
          fmt::format("{0} x {0} x {0}", size),
          linear_flops(size, size, size),
          3 * as_double(size_of(kernels.dtype())) * as_double(size * size),
          0,
          [=](Arena& arena, Noise* noise) {
            const Tensor x = at.working(arena, noise, {size, size});
            const Tensor weight = at.working(arena, noise, {size, size});
            const Tensor y = at.working(arena, nullptr, {size, size});
            return [=] {
              at.kernels->linear_forward(*at.stream, x, weight, {}, Activation::kNone, {}, y);
            };
          }};
}

}  // namespace leasehold
