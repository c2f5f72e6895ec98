#include "bench/products.h"

#include <algorithm>

#include "bench/noise.h"
#include "models/family.h"

namespace leasehold {

namespace {

constexpr int64_t kFastUnit = 64;  // columns

}  // namespace

Products::Products(const ModelConfig& model, int64_t N, Device& device, Kernels& kernels,
                   Stream& stream)
    : kernels_(kernels), stream_(stream), N_(N) {
  const int64_t C = model.hidden, D = model.head_dim();
  const int64_t gates = family_options(model).gated_mlp ? 2 : 1;
  for (int64_t layer = 0; layer < model.layers; ++layer) {
    shapes_.push_back({C, (model.heads + 2 * model.kv_heads) * D});
    shapes_.push_back({C, C});
    shapes_.push_back({C, gates * model.ffn});
    shapes_.push_back({model.ffn, C});
  }
  shapes_.push_back({C, (model.vocab + kFastUnit - 1) / kFastUnit * kFastUnit});
  Arena measured = Arena::measuring("products");
  allocate(measured);
  arena_ =
      std::make_unique<Arena>(Arena::create(device, "products", measured.peak_bytes()).value());
  allocate(*arena_);
  // Zeros would cost less power, hence less time.
  Noise noise(device, kernels, stream);
  noise.fill(x_);
  for (const Product& shape : shapes_) noise.fill(shape.weight);
  throw_if_error(stream_.synchronize(Deadline::after_s(600)));
}

double Products::flops() const {
  double flops = 0;
  for (const auto& shape : shapes_) flops += 6.0 * static_cast<double>(N_ * shape.K * shape.O);
  return flops;
}

void Products::run() {
  const auto x = [&](const Product& shape) {
    return x_.flat(0, N_ * shape.K).reshape({N_, shape.K});
  };
  const auto y = [&](const Product& shape) {
    return y_.flat(0, N_ * shape.O).reshape({N_, shape.O});
  };
  for (const Product& shape : shapes_) {
    kernels_.linear_forward(stream_, x(shape), shape.weight, {}, Activation::kNone, {}, y(shape));
  }
  for (auto shape = shapes_.rbegin(); shape != shapes_.rend(); ++shape) {
    const Tensor dx = dx_.flat(0, N_ * shape->K).reshape({N_, shape->K});
    kernels_.linear_backward_weight(stream_, y(*shape), x(*shape), shape->dweight, {},
                                    Write::kOverwrite);
    kernels_.linear_backward_input(stream_, y(*shape), shape->weight, Activation::kNone, {}, dx,
                                   Write::kOverwrite);
  }
}

void Products::allocate(Arena& arena) {
  int64_t most_inputs = 0, most_outputs = 0;
  for (Product& shape : shapes_) {
    most_inputs = std::max(most_inputs, shape.K);
    most_outputs = std::max(most_outputs, shape.O);
    shape.weight = arena.allocate(kernels_.dtype(), {shape.O, shape.K});
    shape.dweight = arena.allocate(kernels_.gradient_dtype(), {shape.O, shape.K});
  }
  x_ = arena.allocate(kernels_.dtype(), {N_ * most_inputs});
  dx_ = arena.allocate(kernels_.dtype(), {N_ * most_inputs});
  y_ = arena.allocate(kernels_.dtype(), {N_ * most_outputs});
}

}  // namespace leasehold
