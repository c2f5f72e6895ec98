#include "bench/roofline_rows.h"

#include <algorithm>

#include "bench/formulas.h"
#include "models/head_rows.h"
#include "runtime/train/engine.h"

namespace leasehold {

void RooflineRows::rotary(const AttentionShape& shape, const Rotary& rotary, double calls) {
  const RooflineBuffers at = at_;
  const double moved = 2 * e_ * as_double(shape.B * shape.T * shape.G * (shape.R + 1) * shape.D);
  for (const bool backward : {false, true}) {
    add({backward ? "rotary.backward" : "rotary.forward", text(shape), 0, moved, calls,
         [=](Arena& arena, Noise* noise) {
           const Tensor qkv = at.working(arena, noise, RooflineBuffers::qkv_shape(shape));
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

void RooflineRows::attention(const AttentionShape& shape, const Dropout& dropout,
                             const std::string& suffix, double calls) {
  const RooflineBuffers at = at_;
  const auto qkv_elements = as_double(shape.B * shape.T * shape.G * (shape.R + 2) * shape.D);
  const auto out_elements = as_double(shape.B * shape.T * shape.H() * shape.D);
  const double kept = g_ * as_double(shape.B * shape.H() * shape.T);
  add({"attention.forward" + suffix, text(shape), attention_forward_flops(shape),
       e_ * (qkv_elements + out_elements) + kept, calls, [=](Arena& arena, Noise* noise) {
         const RooflineAttention saved = at.attend(arena, noise, shape);
         return [=] { at.forward(shape, dropout, saved); };
       }});
  add({"attention.backward" + suffix, text(shape), attention_backward_flops(shape),
       e_ * (2 * qkv_elements + 2 * out_elements) + kept, calls, [=](Arena& arena, Noise* noise) {
         const RooflineAttention saved = at.attend(arena, noise, shape);
         const Tensor dout = at.working(arena, noise, saved.out.shape());
         const Tensor dqkv = at.working(arena, nullptr, saved.qkv.shape());
         if (noise != nullptr) at.forward(shape, dropout, saved);  // for the statistics
         return [=] {
           at.kernels->attention_backward(*at.stream, shape, dout, saved.qkv, saved.out,
                                          saved.log_sum_exp, dropout, dqkv, saved.workspace);
         };
       }});
}

void RooflineRows::cross_entropy() {
  const RooflineBuffers at = at_;
  const int64_t V = model_.vocab, rows = head_rows(N_, V);
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

void RooflineRows::sharded_cross_entropy() {
  const RooflineBuffers at = at_;
  const VocabularyShard shard{.index = 0, .count = 2};
  const int64_t V = (model_.vocab + 1) / 2, rows = head_rows(N_, V);
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
           at.kernels->cross_entropy_from_statistics(*at.stream, statistics, targets, shard, 1e-3F,
                                                     logits, loss, workspace);
         };
       }});
}

void RooflineRows::optimizer() {
  const RooflineBuffers at = at_;
  const int64_t n = num_parameters(model_);
  const bool has_copy = at.kernels->dtype() != at.kernels->gradient_dtype();
  const std::string shape = fmt::format("n {}", n);
  add({"squared_norms", shape, 0, g_ * as_double(n), 1, [=](Arena& arena, Noise* noise) {
         const Tensor gradient = at.exact(arena, noise, {n});
         const int64_t chunks = (n + Kernels::kChunk - 1) / Kernels::kChunk;
         const Tensor sums = arena.allocate(DType::kF64, {chunks});
         return [=] { at.kernels->squared_norms(*at.stream, gradient, 0.25F, sums); };
       }});
  const AdamWStep step = {1e-4, 0.9, 0.95, 1e-8, 0.1, 0.1, 0.05, 0.25, 1.0};
  add({"adamw", shape, 0, (7 * g_ + (has_copy ? e_ : 0)) * as_double(n), 1,
       [=](Arena& arena, Noise* noise) {
         const Tensor parameter = at.exact(arena, noise, {n}),
                      gradient = at.exact(arena, noise, {n});
         const Tensor m = at.exact(arena, noise, {n}), v = at.positive(arena, noise, {n});
         const Tensor working_copy = has_copy ? at.working(arena, nullptr, {n}) : Tensor();
         return
             [=] { at.kernels->adamw(*at.stream, step, parameter, gradient, m, v, working_copy); };
       }});
}

void RooflineRows::sums() {
  const RooflineBuffers at = at_;
  const int64_t bucket = EngineOptions().bucket_bytes / static_cast<int64_t>(g_);
  const int64_t n = std::min(bucket, num_parameters(model_)), parts = 4;
  const std::string shape = fmt::format("n {}", n);
  add({"add of gradients", shape, 0, 3 * g_ * as_double(n), 0, [=](Arena& arena, Noise* noise) {
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
  add({"fill of gradients", shape, 0, g_ * as_double(n), 0, [=](Arena& arena, Noise*) {
         const Tensor out = at.exact(arena, nullptr, {n});
         return [=] { at.kernels->fill(*at.stream, out, 0); };
       }});
  add({"cast f32 to bf16", shape, 0, 6 * as_double(n), 0, [=](Arena& arena, Noise* noise) {
         const Tensor in = at.exact(arena, noise, {n}), out = arena.allocate(DType::kBf16, {n});
         return [=] { at.kernels->cast(*at.stream, in, out); };
       }});
}

AttentionShape RooflineRows::attention_shape() const {
  return {.B = B_,
          .T = T_,
          .G = model_.kv_heads,
          .R = model_.heads / model_.kv_heads,
          .D = model_.head_dim()};
}

}  // namespace leasehold
