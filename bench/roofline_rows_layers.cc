// Linears, norms, the mlp's activation, sums and tables.
#include "bench/formulas.h"
#include "bench/roofline_rows.h"
#include "models/family.h"
#include "models/head_rows.h"

namespace leasehold {

void RooflineRows::linear(const std::string& name, int64_t N, int64_t K, int64_t O,
                          Activation activation, Activation input_activation, bool has_bias,
                          double calls) {
  const RooflineBuffers at = at_;
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
  add({name + ".weight_gradient", shape, flops, e_ * (in + out) + g_ * matrix, calls,
       [=](Arena& arena, Noise* noise) {
         const Tensor dy = at.working(arena, noise, {N, O}), x = at.working(arena, noise, {N, K});
         const Tensor dweight = at.exact(arena, nullptr, {O, K});
         const Tensor dbias = has_bias ? at.exact(arena, nullptr, {O}) : Tensor();
         return [=] {
           at.kernels->linear_backward_weight(*at.stream, dy, x, dweight, dbias, Write::kOverwrite);
         };
       }});
}

void RooflineRows::linears() {
  const auto layers = as_double(model_.layers);
  const bool biases = family_options(model_).biases, gated = family_options(model_).gated_mlp;
  const int64_t F = model_.ffn, D = model_.head_dim();
  const Activation inside = gated ? Activation::kNone : Activation::kGelu;
  linear("qkv", N_, C_, (model_.heads + 2 * model_.kv_heads) * D, Activation::kNone,
         Activation::kNone, biases, layers);
  linear("projection", N_, C_, C_, Activation::kNone, Activation::kNone, biases, layers);
  linear("mlp_up", N_, C_, (gated ? 2 : 1) * F, inside, Activation::kNone, biases, layers);
  linear("mlp_down", N_, F, C_, Activation::kNone, inside, biases, layers);
  const int64_t rows = head_rows(N_, model_.vocab);
  linear("head", rows, C_, model_.vocab, Activation::kNone, Activation::kNone, false,
         as_double((N_ + rows - 1) / rows));
}

void RooflineRows::layer_norm(double layers) {
  const RooflineBuffers at = at_;
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
  const double kept = 2 * g_ * as_double(N);
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
           at.kernels->layer_norm_backward(*at.stream, dy, input, weight, mean, rstd, residual, dx,
                                           dweight, dbias, Write::kOverwrite, workspace);
         };
       }});
}

void RooflineRows::rms_norm(double layers) {
  const RooflineBuffers at = at_;
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
  const double kept = g_ * as_double(N);
  add({"rms_norm.forward", shape, 0, 2 * rows + kept, layers > 0 ? layers + 1 : 0, forward(false)});
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
           at.kernels->rms_norm_backward(*at.stream, dy, input, weight, rstd, residual, dx, dweight,
                                         Write::kOverwrite, workspace);
         };
       }});
}

void RooflineRows::swiglu(int64_t F, double calls) {
  const RooflineBuffers at = at_;
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

void RooflineRows::residual_add(const Dropout& dropout, const std::string& name, double calls) {
  const RooflineBuffers at = at_;
  const int64_t N = N_, C = C_;
  add({name, fmt::format("N {} C {}", N, C), 0, 3 * e_ * as_double(N * C), calls,
       [=](Arena& arena, Noise* noise) {
         const Tensor x = at.working(arena, noise, {N, C}),
                      delta = at.working(arena, noise, {N, C});
         const Tensor out = at.working(arena, nullptr, {N, C});
         return [=] { at.kernels->residual_add(*at.stream, x, delta, dropout, out); };
       }});
}

void RooflineRows::embedding() {
  const RooflineBuffers at = at_;
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
         return
             [=] { at.kernels->embedding_forward(*at.stream, tokens, table, positions, {}, out); };
       }});
  add({"embedding.backward", shape, 0,
       e_ * as_double(N * C) + g_ * (as_double(V * C) + table_of_positions), 1,
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

}  // namespace leasehold
