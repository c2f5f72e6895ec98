// B sequences, T positions, N = B * T tokens, M of them in this rank's residual stream, C channels,
// H heads and G kv heads of this rank, R = H / G, D head dimension.
#include "models/attention.h"

#include "models/boundaries.h"
#include "models/family.h"

namespace leasehold {

namespace {

struct AttentionSaved : Saved {
  AttentionShape shape;
  bool recompute = false;  // qkv, out and log_sum_exp are scratch
  Tensor input;            // (M, C), owned by the caller
  Tensor qkv;              // (B, T, G, R + 2, D)
  Tensor out;              // (B, T, H, D)
  Tensor log_sum_exp;      // (B, H, T)
  // Scratch.
  Boundary boundary;
  Tensor dqkv;       // like qkv
  Tensor dout;       // like out
  Tensor workspace;  // u8

  int64_t N() const { return shape.B * shape.T; }
  int64_t qkv_channels() const { return shape.G * (shape.R + 2) * shape.D; }
  int64_t out_channels() const { return shape.H() * shape.D; }
};

}  // namespace

Attention::Attention(const ModelConfig& config, ParameterTable& parameters, const std::string& name)
    : Module(name),
      qkv_(parameters, name + ".qkv", family_options(config).biases),
      projection_(parameters, name + ".projection", family_options(config).biases),
      dropout_(name + ".dropout", config.dropout) {
  const Shape& local = qkv_.weight().local_shape();  // (G, R + 2, D, C)
  shape_ = {.G = local[0], .R = local[1] - 2, .D = local[2]};
  if (!family_options(config).position_table) rotary_ = rotary_of(config);
  add_uses(qkv_.parameters());
  add_uses(projection_.parameters());
}

std::unique_ptr<Saved> Attention::prepare(const PrepareContext& context) const {
  auto saved = std::make_unique<AttentionSaved>();
  AttentionShape& shape = saved->shape;
  shape = shape_;
  shape.B = context.B;
  shape.T = context.T;
  shape.first_head = tensor_rank(context.tensor) * shape.H();
  shape.all_heads = num_tensor_ranks(context.tensor) * shape.H();
  const DType dtype = context.kernels.dtype();
  const Shape qkv_shape{shape.B, shape.T, shape.G, shape.R + 2, shape.D};
  const Shape out_shape{shape.B, shape.T, shape.H(), shape.D};

  saved->recompute = context.training && context.recompute == Recompute::kAttention;
  const bool keep = context.training && !saved->recompute;
  int64_t mark = context.scratch.mark();
  Arena& kept = keep ? context.activations : context.scratch;
  saved->qkv = kept.allocate(dtype, qkv_shape);
  saved->out = kept.allocate(dtype, out_shape);
  saved->log_sum_exp =
      kept.allocate(context.kernels.gradient_dtype(), {shape.B, shape.H(), shape.T});
  if (keep) mark = context.scratch.mark();
  if (context.training) {
    saved->dqkv = context.scratch.allocate(dtype, qkv_shape);
    saved->dout = context.scratch.allocate(dtype, out_shape);
  }
  saved->workspace = context.scratch.allocate(
      DType::kU8, {context.remembered > 0
                       ? context.kernels.attention_cached_workspace_bytes(shape, context.remembered)
                       : context.kernels.attention_workspace_bytes(shape)});
  saved->boundary = Boundary(context, qkv_.in());
  context.scratch.release_to(mark);
  return saved;
}

void Attention::attend(StepContext& context, Saved& base) const {
  auto& saved = static_cast<AttentionSaved&>(base);
  qkv_.forward(context, saved.boundary.gather(context, saved.input),
               saved.qkv.reshape({saved.N(), saved.qkv_channels()}));
  AttentionShape shape = saved.shape;
  if (context.memory != nullptr) shape.first_position = context.memory->first;
  if (rotary_) context.kernels.rotary_forward(context.stream, shape, *rotary_, saved.qkv);
  if (context.memory != nullptr) {
    context.kernels.attention_cached(context.stream, shape, saved.qkv,
                                     context.memory->layers.at(name()), saved.out, saved.workspace);
    return;
  }
  context.kernels.attention_forward(context.stream, saved.shape, saved.qkv, dropout_.at(context),
                                    saved.out, saved.log_sum_exp, saved.workspace);
}

void Attention::do_forward(StepContext& context, Tensor input, Tensor output, Saved& base) {
  auto& saved = static_cast<AttentionSaved&>(base);
  saved.input = input;
  attend(context, saved);
  projection_.forward(context, saved.out.reshape({saved.N(), saved.out_channels()}),
                      saved.boundary.partial(output));
  saved.boundary.sum_scatter(context, output);
}

void Attention::do_backward(StepContext& context, Tensor output_gradient, Tensor input_gradient,
                            Saved& base) {
  auto& saved = static_cast<AttentionSaved&>(base);
  if (saved.recompute) attend(context, saved);
  const Shape rows_by_out{saved.N(), saved.out_channels()};
  projection_.backward(context, saved.boundary.gather(context, output_gradient),
                       saved.out.reshape(rows_by_out), saved.dout.reshape(rows_by_out));
  context.kernels.attention_backward(context.stream, saved.shape, saved.dout, saved.qkv, saved.out,
                                     saved.log_sum_exp, dropout_.at(context), saved.dqkv,
                                     saved.workspace);
  if (rotary_) context.kernels.rotary_backward(context.stream, saved.shape, *rotary_, saved.dqkv);
  qkv_.backward(context, saved.dqkv.reshape({saved.N(), saved.qkv_channels()}),
                saved.boundary.gather(context, saved.input),
                saved.boundary.partial(input_gradient));
  saved.boundary.sum_scatter(context, input_gradient);
}

}  // namespace leasehold
