// N tokens, M of them in this rank's residual stream, C channels, F channels of this rank inside, E
// channels of the first linear: F, or 2 F for gate and up.
#include "models/mlp.h"

#include "models/boundaries.h"
#include "models/family.h"

namespace leasehold {

namespace {

struct MlpSaved : Saved {
  Tensor input;     // (M, C), owned by the caller
  Tensor expanded;  // (N, E); with GELU, absent if no backward follows
  Tensor hidden;    // (N, F)
  // Scratch.
  Boundary boundary;
  Tensor dexpanded;  // (N, E)
  Tensor dhidden;    // (N, F), only if gated
};

}  // namespace

Mlp::Mlp(const ModelConfig& config, ParameterTable& parameters, const std::string& name)
    : Module(name),
      gated_(family_options(config).gated_mlp),
      expand_(parameters, name + "." + family_options(config).expand,
              family_options(config).biases),
      projection_(parameters, name + ".projection", family_options(config).biases) {
  add_uses(expand_.parameters());
  add_uses(projection_.parameters());
}

std::unique_ptr<Saved> Mlp::prepare(const PrepareContext& context) const {
  auto saved = std::make_unique<MlpSaved>();
  const DType dtype = context.kernels.dtype();
  const Shape expanded{context.B * context.T, expand_.out()};
  const Shape hidden{context.B * context.T, projection_.in()};
  int64_t mark = context.scratch.mark();
  Arena& kept = context.training ? context.activations : context.scratch;
  if (context.training || gated_) saved->expanded = kept.allocate(dtype, expanded);
  saved->hidden = kept.allocate(dtype, hidden);
  if (context.training) {
    mark = context.scratch.mark();
    saved->dexpanded = context.scratch.allocate(dtype, expanded);
    if (gated_) saved->dhidden = context.scratch.allocate(dtype, hidden);
  }
  saved->boundary = Boundary(context, expand_.in());
  context.scratch.release_to(mark);
  return saved;
}

void Mlp::recompute(StepContext& context, Tensor input, Saved& base) {
  auto& saved = static_cast<MlpSaved&>(base);
  saved.input = input;
  const Tensor rows = saved.boundary.gather(context, input);  // (N, C)
  if (gated_) {
    expand_.forward(context, rows, saved.expanded);
    context.kernels.swiglu_forward(context.stream, saved.expanded, saved.hidden);
  } else {
    expand_.forward(context, rows, saved.hidden, Activation::kGelu, saved.expanded);
  }
}

void Mlp::do_forward(StepContext& context, Tensor input, Tensor output, Saved& base) {
  auto& saved = static_cast<MlpSaved&>(base);
  recompute(context, input, saved);
  projection_.forward(context, saved.hidden, saved.boundary.partial(output));
  saved.boundary.sum_scatter(context, output);
}

void Mlp::do_backward(StepContext& context, Tensor output_gradient, Tensor input_gradient,
                      Saved& base) {
  auto& saved = static_cast<MlpSaved&>(base);
  const Tensor gradient = saved.boundary.gather(context, output_gradient);  // (N, C)
  if (gated_) {
    projection_.backward(context, gradient, saved.hidden, saved.dhidden);
    context.kernels.swiglu_backward(context.stream, saved.dhidden, saved.expanded, saved.dexpanded);
  } else {
    projection_.backward(context, gradient, saved.hidden, saved.dexpanded, Activation::kGelu,
                         saved.expanded);
  }
  expand_.backward(context, saved.dexpanded, saved.boundary.gather(context, saved.input),
                   saved.boundary.partial(input_gradient));
  saved.boundary.sum_scatter(context, input_gradient);
}

}  // namespace leasehold
