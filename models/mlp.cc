// N tokens, C channels, F channels inside.
#include "models/mlp.h"

namespace leasehold {

namespace {

struct MlpSaved : Saved {
  Tensor input;   // (N, C), the caller's
  Tensor pre;     // (N, F), before GELU; absent when no backward follows
  Tensor hidden;  // (N, F)
  Tensor dpre;    // (N, F), scratch
};

}  // namespace

Mlp::Mlp(ParameterTable& parameters, const std::string& name)
    : Module(name), fc_(parameters, name + ".fc"), projection_(parameters, name + ".projection") {
  add_use(fc_.weight());
  add_use(fc_.bias());
  add_use(projection_.weight());
  add_use(projection_.bias());
}

std::unique_ptr<Saved> Mlp::prepare(const PrepareContext& context) const {
  auto saved = std::make_unique<MlpSaved>();
  const DType dtype = context.kernels.dtype();
  const Shape shape{context.B * context.T, fc_.out()};
  const int64_t mark = context.scratch.mark();
  if (context.training) {
    saved->pre = context.activations.allocate(dtype, shape);
    saved->hidden = context.activations.allocate(dtype, shape);
    saved->dpre = context.scratch.allocate(dtype, shape);
  } else {
    saved->hidden = context.scratch.allocate(dtype, shape);
  }
  context.scratch.release_to(mark);
  return saved;
}

void Mlp::do_forward(StepContext& context, Tensor input, Tensor output, Saved& base) {
  auto& saved = static_cast<MlpSaved&>(base);
  saved.input = input;
  fc_.forward(context, input, saved.hidden, Activation::kGelu, saved.pre);
  projection_.forward(context, saved.hidden, output);
}

void Mlp::do_backward(StepContext& context, Tensor output_gradient, Tensor input_gradient,
                      Saved& base) {
  auto& saved = static_cast<MlpSaved&>(base);
  projection_.backward(context, output_gradient, saved.hidden, saved.dpre, Activation::kGelu,
                       saved.pre);
  fc_.backward(context, saved.dpre, saved.input, input_gradient);
}

}  // namespace leasehold
