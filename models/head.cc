// N = B * T tokens, M of them in the residual stream here, V vocabulary here, C channels, t ranks
// of the tensor axis.
#include "models/head.h"

#include <algorithm>

#include "models/boundaries.h"
#include "models/head_rows.h"

namespace leasehold {

namespace {

// Elements that rows of logits are a multiple of apart. Products and cross entropy run on aligned
// rows at full speed, and an odd vocabulary (GPT-2's 50257) would make every second row begin in
// the middle of a word.
constexpr int64_t kRowUnit = 64;

struct HeadSaved : Saved {
  bool training = false;
  int64_t rows_per_chunk = 0;
  Tensor input;  // (M, C), the caller's
  // Scratch.
  Tensor normalised;  // (M, C); in backward its rows become their own gradient, chunk by chunk
  Norm::Statistics statistics;
  Boundary boundary;
  Tensor logits;           // (rows_per_chunk, V), rows a multiple of kRowUnit apart
  Tensor loss_statistics;  // (t rows_per_chunk 3) f64; absent with one rank
  Tensor chunk_loss;       // (1) f64
  Tensor loss_workspace;   // u8
  Tensor norm_workspace;   // u8
};

// Kernels::cross_entropy over all ranks' parts of the vocabulary.
void cross_entropy(StepContext& context, HeadSaved& saved, Tensor logits, Tensor targets,
                   float gradient_scale, Tensor loss) {
  Kernels& kernels = context.kernels;
  const VocabularyShard shard = vocabulary_shard(context);
  if (shard.count == 1) {
    kernels.cross_entropy(context.stream, logits, targets, gradient_scale, loss,
                          saved.loss_workspace);
    return;
  }
  const int64_t count = logits.dim(0);
  const bool for_gradient = gradient_scale != 0;
  const Tensor all = saved.loss_statistics.flat(0, shard.count * count * 3);
  const Tensor own = all.flat(shard.index * count * 3, count * 3);
  kernels.cross_entropy_statistics(context.stream, logits, targets, shard, for_gradient,
                                   own.reshape({count, 3}));
  context.tensor->all_gather(own, all, context.stream).then(context.stream);
  kernels.cross_entropy_from_statistics(
      context.stream, all.reshape({shard.count, count, 3}), targets, shard, gradient_scale,
      for_gradient ? logits : Tensor(), loss, saved.loss_workspace);
}

// The loss of rows [begin, begin + count), into the microbatch's loss, and with a scale their
// gradient into `logits`.
void add_loss(StepContext& context, HeadSaved& saved, Tensor logits, int64_t begin, int64_t count,
              float gradient_scale) {
  const Microbatch& microbatch = context.microbatch;
  const Tensor targets = microbatch.targets.flat(begin, count);
  const Tensor loss = begin == 0 ? microbatch.loss : saved.chunk_loss;
  cross_entropy(context, saved, logits, targets, gradient_scale, loss);
  if (begin > 0) context.kernels.add(context.stream, microbatch.loss, loss, microbatch.loss);
}

}  // namespace

Head::Head(const ModelConfig& config, ParameterTable& parameters, const std::string& name,
           int64_t chunk_rows)
    : Module(name),
      norm_(config, parameters, "norm"),
      table_(&parameters.at(config.tied ? "embedding.token.weight" : name + ".weight")),
      slot_(config.tied ? 1 : 0),
      chunk_rows_(chunk_rows) {
  add_uses(norm_.parameters());
  add_use(*table_, slot_);
  mark_as_unit();
}

std::unique_ptr<Saved> Head::prepare(const PrepareContext& context) const {
  auto saved = std::make_unique<HeadSaved>();
  const DType dtype = context.kernels.dtype();
  const int64_t N = context.B * context.T, V = table_->local_shape()[0],
                C = table_->local_shape()[1], t = num_tensor_ranks(context.tensor);
  saved->training = context.training;
  // A text that grows wants the logits of its end alone.
  const int64_t rows = context.remembered > 0 ? context.B : N;
  saved->rows_per_chunk = chunk_rows_ > 0 ? std::min(rows, chunk_rows_) : head_rows(rows, V);
  const int64_t mark = context.scratch.mark();
  saved->normalised = context.scratch.allocate(dtype, {shard_rows(context), C});
  saved->statistics = norm_.allocate_statistics(context, context.scratch);
  saved->boundary = Boundary(context, C);
  const int64_t row_stride = (V + kRowUnit - 1) / kRowUnit * kRowUnit;
  saved->logits = context.scratch.allocate(dtype, {saved->rows_per_chunk, row_stride}).columns(V);
  if (t > 1)
    saved->loss_statistics = context.scratch.allocate(DType::kF64, {t * saved->rows_per_chunk * 3});
  saved->chunk_loss = context.scratch.allocate(DType::kF64, {1});
  saved->loss_workspace = context.scratch.allocate(
      DType::kU8, {context.kernels.cross_entropy_workspace_bytes(saved->rows_per_chunk, V)});
  if (context.training) saved->norm_workspace = norm_.allocate_workspace(context);
  context.scratch.release_to(mark);
  return saved;
}

void Head::do_forward(StepContext& context, Tensor input, Tensor, Saved& base) {
  auto& saved = static_cast<HeadSaved&>(base);
  const Microbatch& microbatch = context.microbatch;
  saved.input = input;
  if (saved.training && context.training) {
    LEASEHOLD_CHECK(!microbatch.logits.present(), "{}: logits are given where no backward follows",
                    name());
    return;
  }
  LEASEHOLD_CHECK(num_tensor_ranks(context.tensor) == 1 || !microbatch.logits.present(),
                  "{}: logits are given by one rank alone, not by {} that share a vocabulary",
                  name(), num_tensor_ranks(context.tensor));
  norm_.forward(context, input, {}, {}, {}, saved.normalised, saved.statistics);
  const Tensor all_rows = saved.boundary.gather(context, saved.normalised);  // (N, C)
  const int64_t N = all_rows.dim(0);
  const bool gives_logits = microbatch.logits.present();
  // A loss wants all rows; else only those whose logits are asked for are computed.
  const int64_t first = gives_logits ? N - microbatch.logits.dim(0) : 0;
  LEASEHOLD_CHECK(first == 0 || !microbatch.loss.present(), "{}: logits of {} rows of {}", name(),
                  N - first, N);
  for (int64_t begin = first; begin < N; begin += saved.rows_per_chunk) {
    const int64_t count = std::min(saved.rows_per_chunk, N - begin);
    const Tensor logits =
        gives_logits ? microbatch.logits.rows(begin - first, count) : saved.logits.rows(0, count);
    context.kernels.linear_forward(context.stream, all_rows.rows(begin, count), table_->value(), {},
                                   Activation::kNone, {}, logits);
    if (microbatch.loss.present()) add_loss(context, saved, logits, begin, count, 0);
  }
}

void Head::do_backward(StepContext& context, Tensor, Tensor input_gradient, Saved& base) {
  auto& saved = static_cast<HeadSaved&>(base);
  const Microbatch& microbatch = context.microbatch;
  // Without targets every row is left out, and any scale but 0 gives the gradient, which is 0.
  const int64_t num_targets = std::max<int64_t>(1, microbatch.num_targets);
  const auto scale = static_cast<float>(1.0 / static_cast<double>(num_targets));
  norm_.forward(context, saved.input, {}, {}, {}, saved.normalised, saved.statistics);
  const Tensor all_rows = saved.boundary.gather(context, saved.normalised);  // (N, C)
  const int64_t N = all_rows.dim(0);
  for (int64_t begin = 0; begin < N; begin += saved.rows_per_chunk) {
    const int64_t count = std::min(saved.rows_per_chunk, N - begin);
    const Tensor rows = all_rows.rows(begin, count);
    const Tensor logits = saved.logits.rows(0, count);
    context.kernels.linear_forward(context.stream, rows, table_->value(), {}, Activation::kNone, {},
                                   logits);
    add_loss(context, saved, logits, begin, count, scale);
    context.kernels.linear_backward_weight(context.stream, logits, rows, table_->gradient(slot_),
                                           {}, begin == 0 ? context.gradients : Write::kAccumulate);
    context.kernels.linear_backward_input(context.stream, logits, table_->value(),
                                          Activation::kNone, {}, rows, Write::kOverwrite);
  }
  // The gradients lie where partial() says: in the gathered rows.
  saved.boundary.sum_scatter(context, saved.normalised);
  norm_.backward(context, saved.normalised, saved.input, saved.statistics, {}, input_gradient,
                 saved.norm_workspace);
}

}  // namespace leasehold
