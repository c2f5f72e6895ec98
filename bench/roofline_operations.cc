#include "bench/roofline_operations.h"

#include "bench/formulas.h"
#include "bench/roofline_rows.h"
#include "models/family.h"

namespace leasehold {
std::vector<RooflineOperation> step_operations(const ModelConfig& model, int64_t B,
                                               Kernels& kernels, Stream& stream) {
  const FamilyOptions family = family_options(model);
  const auto layers = static_cast<double>(model.layers);
  RooflineRows operations(model, B, kernels, stream);
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
  RooflineRows operations(model, B, kernels, stream);
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
  RooflineRows operations({}, shape.B, kernels, stream);
  operations.attention(shape, {}, "", 0);
  return operations.take();
}

RooflineOperation copy_operation(int64_t bytes, Stream& stream) {
  return {"copy",
          fmt::format("{} bytes", bytes),
          0,
          2.0 * static_cast<double>(bytes),
          0,
          [=, &stream](Arena& arena, Noise*) {
            const Tensor from = arena.allocate(DType::kU8, {bytes});
            const Tensor to = arena.allocate(DType::kU8, {bytes});
            return [=, &stream] { stream.copy(to.data(), from.data(), bytes); };
          }};
}

RooflineOperation square_operation(int64_t size, Kernels& kernels, Stream& stream) {
  const RooflineBuffers at{&kernels, &stream, 1};
  return {"product",
          fmt::format("{0} x {0} x {0}", size),
          linear_flops(size, size, size),
          static_cast<double>(3 * size_of(kernels.dtype()) * size * size),
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
