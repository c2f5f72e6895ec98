// N = B * T tokens, V vocabulary, C channels.
#include "models/embedding.h"

#include "models/family.h"

namespace leasehold {

namespace {

struct EmbeddingSaved : Saved {
  Tensor workspace;  // u8, scratch
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
  if (!context.training) return saved;
  const int64_t mark = context.scratch.mark();
  saved->workspace =
      context.scratch.allocate(DType::kU8, {context.kernels.embedding_backward_workspace_bytes(
                                               context.B * context.T, table[0], table[1])});
  context.scratch.release_to(mark);
  return saved;
}

void Embedding::do_forward(StepContext& context, Tensor, Tensor output, Saved&) {
  context.kernels.embedding_forward(context.stream, context.microbatch.tokens, token_->value(),
                                    position_ == nullptr ? Tensor() : position_->value(),
                                    dropout_.at(context), output);
}

void Embedding::do_backward(StepContext& context, Tensor output_gradient, Tensor, Saved& base) {
  auto& saved = static_cast<EmbeddingSaved&>(base);
  context.kernels.embedding_backward(context.stream, context.microbatch.tokens, output_gradient,
                                     dropout_.at(context), token_->gradient(0),
                                     position_ == nullptr ? Tensor() : position_->gradient(),
                                     context.gradients, saved.workspace);
}

}  // namespace leasehold
