// N = B * T tokens, M of them in the residual stream here, V vocabulary here, C channels.
#include "models/embedding.h"

#include "models/boundaries.h"
#include "models/family.h"

namespace leasehold {

namespace {

struct EmbeddingSaved : Saved {
  // Scratch.
  Boundary boundary;
  Tensor workspace;  // u8
  Tensor gradient;   // (M, C), before dropout; only where ranks cut the vocabulary
};

}  // namespace

Embedding::Embedding(const ModelConfig& config, ParameterTable& parameters, const std::string& name)
    : Module(name),
      token_(&parameters.at(name + ".token.weight")),
      dropout_(name + ".dropout", config.dropout) {
  add_use(*token_, 0);
  if (family_options(config).position_table) {
    position_ = &parameters.at(name + ".position.weight");
    add_use(*position_);
  }
  mark_as_unit();
}

std::unique_ptr<Saved> Embedding::prepare(const PrepareContext& context) const {
  auto saved = std::make_unique<EmbeddingSaved>();
  const Shape& table = token_->local_shape();
  if (position_ != nullptr) {
    LEASEHOLD_CHECK(context.T <= position_->local_shape()[0],
                    "{}: {} positions, but the table has {}", name(), context.T,
                    position_->local_shape()[0]);
  }
  const int64_t mark = context.scratch.mark();
  saved->boundary = Boundary(context, table[1]);
  if (context.training) {
    saved->workspace =
        context.scratch.allocate(DType::kU8, {context.kernels.embedding_backward_workspace_bytes(
                                                 context.B * context.T, table[0], table[1])});
    if (num_tensor_ranks(context.tensor) > 1 && !dropout_.never_drops()) {
      saved->gradient =
          context.scratch.allocate(context.kernels.dtype(), {shard_rows(context), table[1]});
    }
  }
  context.scratch.release_to(mark);
  return saved;
}

bool Embedding::adds_positions(const StepContext& context) const {
  return position_ != nullptr && tensor_rank(context.tensor) == 0;
}

// One rank drops while it looks up; of several, each its rows of the sum.
void Embedding::do_forward(StepContext& context, Tensor, Tensor output, Saved& base) {
  auto& saved = static_cast<EmbeddingSaved&>(base);
  const Dropout dropout = dropout_.at(context, first_element(context, output));
  const bool is_cut = num_tensor_ranks(context.tensor) > 1;
  Tensor positions;
  if (adds_positions(context)) {
    const Tensor table = position_->value();
    const int64_t first = context.memory == nullptr ? 0 : context.memory->first;
    positions = table.rows(first, table.dim(0) - first);
  }
  context.kernels.embedding_forward(context.stream, context.microbatch.tokens, token_->value(),
                                    positions, is_cut ? Dropout{} : dropout,
                                    saved.boundary.partial(output), vocabulary_shard(context));
  saved.boundary.sum_scatter(context, output);
  if (is_cut && dropout.p > 0)
    context.kernels.residual_add(context.stream, {}, output, dropout, output);
}

void Embedding::do_backward(StepContext& context, Tensor output_gradient, Tensor, Saved& base) {
  auto& saved = static_cast<EmbeddingSaved&>(base);
  const Dropout dropout = dropout_.at(context, first_element(context, output_gradient));
  const bool is_cut = num_tensor_ranks(context.tensor) > 1;
  Tensor gradient = output_gradient;
  if (is_cut && dropout.p > 0) {
    gradient = saved.gradient;
    context.kernels.residual_add(context.stream, {}, output_gradient, dropout, gradient);
  }
  const bool added = adds_positions(context);
  context.kernels.embedding_backward(
      context.stream, context.microbatch.tokens, saved.boundary.gather(context, gradient),
      is_cut ? Dropout{} : dropout, token_->gradient(0), added ? position_->gradient() : Tensor(),
      context.gradients, saved.workspace, vocabulary_shard(context));
  if (position_ != nullptr && !added && context.gradients == Write::kOverwrite)
    context.kernels.fill(context.stream, position_->gradient(), 0);
}

}  // namespace leasehold
