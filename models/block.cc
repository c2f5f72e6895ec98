// N rows of this rank's residual stream, C channels.
#include "models/block.h"

#include "models/boundaries.h"

namespace leasehold {

namespace {

struct BlockSaved : Saved {
  bool recompute = false;                 // everything but the input is scratch
  Tensor input;                           // (N, C), owned by the caller
  Norm::Statistics attention_statistics;  // of input
  Tensor attention_input;                 // (N, C)
  std::unique_ptr<Saved> attention;
  Tensor middle;  // (N, C), the residual stream between the halves
  Norm::Statistics mlp_statistics;
  Tensor mlp_input;  // (N, C)
  std::unique_ptr<Saved> mlp;
  // Scratch.
  Tensor branch_gradient;  // (N, C), of a branch's output: the stream's gradient through dropout
  Tensor norm_gradient;    // (N, C), of a norm's output
  Tensor norm_workspace;   // u8
};

// Returns the gradient of a branch whose output was added to the residual stream through dropout.
Tensor branch_gradient(StepContext& context, const Dropout& dropout, Tensor stream_gradient,
                       Tensor buffer) {
  if (dropout.p == 0) return stream_gradient;
  context.kernels.residual_add(context.stream, {}, stream_gradient, dropout, buffer);
  return buffer;
}

}  // namespace

Block::Block(const ModelConfig& config, ParameterTable& parameters, const std::string& name)
    : Module(name),
      C_(config.hidden),
      attention_norm_(config, parameters, name + ".attention.norm"),
      attention_(config, parameters, name + ".attention"),
      attention_dropout_(name + ".attention.projection.dropout", config.dropout),
      mlp_norm_(config, parameters, name + ".mlp.norm"),
      mlp_(config, parameters, name + ".mlp"),
      mlp_dropout_(name + ".mlp.projection.dropout", config.dropout) {
  add_uses(attention_norm_.parameters());
  add_uses_of(attention_);
  add_uses(mlp_norm_.parameters());
  add_uses_of(mlp_);
  mark_as_unit();
}

std::unique_ptr<Saved> Block::prepare(const PrepareContext& context) const {
  auto saved = std::make_unique<BlockSaved>();
  saved->recompute = context.training && context.recompute == Recompute::kBlock;
  const DType dtype = context.kernels.dtype();
  const Shape shape{shard_rows(context), C_};
  const int64_t mark = context.scratch.mark();
  const bool keep = context.training && !saved->recompute;
  Arena& kept = keep ? context.activations : context.scratch;
  saved->attention_statistics = attention_norm_.allocate_statistics(context, kept);
  saved->attention_input = kept.allocate(dtype, shape);
  saved->middle = kept.allocate(dtype, shape);
  saved->mlp_statistics = mlp_norm_.allocate_statistics(context, kept);
  saved->mlp_input = kept.allocate(dtype, shape);
  if (context.training) {
    if (!mlp_dropout_.never_drops())
      saved->branch_gradient = context.scratch.allocate(dtype, shape);
    saved->norm_gradient = context.scratch.allocate(dtype, shape);
    saved->norm_workspace = attention_norm_.allocate_workspace(context);
  }
  // Attention's backward scratch may overlap what the mlp keeps, which is not needed any more then.
  const PrepareContext inside{.kernels = context.kernels,
                              .activations = kept,
                              .scratch = context.scratch,
                              .B = context.B,
                              .T = context.T,
                              .training = context.training,
                              .recompute = context.recompute,
                              .remembered = context.remembered,
                              .tensor = context.tensor};
  saved->attention = attention_.prepare(inside);
  saved->mlp = mlp_.prepare(inside);
  context.scratch.release_to(mark);
  return saved;
}

void Block::attend(StepContext& context, Saved& base) {
  auto& saved = static_cast<BlockSaved&>(base);
  attention_norm_.forward(context, saved.input, {}, {}, {}, saved.attention_input,
                          saved.attention_statistics);
  attention_.forward(context, saved.attention_input, saved.middle, *saved.attention);
  mlp_norm_.forward(context, saved.input, saved.middle,
                    attention_dropout_.at(context, first_element(context, saved.input)),
                    saved.middle, saved.mlp_input, saved.mlp_statistics);
}

// Runs both branches. Each writes its output where its sum with the residual stream will be:
// attention in `middle`, the mlp in `output`.
void Block::do_forward(StepContext& context, Tensor input, Tensor output, Saved& base) {
  auto& saved = static_cast<BlockSaved&>(base);
  saved.input = input;
  attend(context, saved);
  mlp_.forward(context, saved.mlp_input, output, *saved.mlp);
  context.kernels.residual_add(context.stream, saved.middle, output,
                               mlp_dropout_.at(context, first_element(context, output)), output);
}

void Block::do_backward(StepContext& context, Tensor output_gradient, Tensor input_gradient,
                        Saved& base) {
  auto& saved = static_cast<BlockSaved&>(base);
  if (saved.recompute) {
    attend(context, saved);
    mlp_.recompute(context, saved.mlp_input, *saved.mlp);
  }
  const int64_t first = first_element(context, output_gradient);
  const Tensor mlp_gradient = branch_gradient(context, mlp_dropout_.at(context, first),
                                              output_gradient, saved.branch_gradient);
  mlp_.backward(context, mlp_gradient, saved.norm_gradient, *saved.mlp);
  mlp_norm_.backward(context, saved.norm_gradient, saved.middle, saved.mlp_statistics,
                     output_gradient, input_gradient, saved.norm_workspace);

  // input_gradient now holds the gradient of `middle`.
  const Tensor attention_gradient = branch_gradient(context, attention_dropout_.at(context, first),
                                                    input_gradient, saved.branch_gradient);
  attention_.backward(context, attention_gradient, saved.norm_gradient, *saved.attention);
  attention_norm_.backward(context, saved.norm_gradient, saved.input, saved.attention_statistics,
                           input_gradient, input_gradient, saved.norm_workspace);
}

}  // namespace leasehold
