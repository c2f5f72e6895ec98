// What the arithmetic class digests: each operation that a job uses, on drawn inputs.
#include <algorithm>

#include "runtime/train/arithmetic_prober.h"
#include "runtime/train/optimizer.h"

namespace leasehold {

namespace {

constexpr int64_t kMaxRows = 128;
constexpr int64_t kMaxVocab = 512;

void probe_linear(Prober& prober, const std::string& name, int64_t rows, int64_t K, int64_t O,
                  Activation activation) {
  const Tensor x = prober.drawn({rows, K}, name + ".x", 1.0F);
  const Tensor weight = prober.drawn({O, K}, name + ".weight", 0.02F);
  const Tensor bias = prober.drawn({O}, name + ".bias", 0.02F);
  const Tensor dy = prober.drawn({rows, O}, name + ".dy", 0.1F);
  const Tensor pre = activation == Activation::kNone ? Tensor() : prober.empty({rows, O});
  const Tensor y = prober.empty({rows, O});
  const Tensor dx = prober.empty({rows, K});
  const Tensor dweight = prober.gradients({O, K});
  const Tensor dbias = prober.gradients({O});
  if (prober.counting()) return;
  Kernels& kernels = prober.kernels();
  kernels.linear_forward(prober.stream(), x, weight, bias, activation, pre, y);
  prober.digest(name + ".linear_forward", {y});
  kernels.linear_backward_input(prober.stream(), dy, weight, Activation::kNone, {}, dx,
                                Write::kOverwrite);
  prober.digest(name + ".linear_backward_input", {dx});
  kernels.linear_backward_weight(prober.stream(), dy, x, dweight, dbias, Write::kOverwrite);
  kernels.linear_backward_weight(prober.stream(), dy, x, dweight, dbias, Write::kAccumulate);
  prober.digest(name + ".linear_backward_weight", {dweight, dbias});
}

// Of an activation that the linear before the one here had.
void probe_gelu_gradient(Prober& prober, const std::string& name, int64_t rows, int64_t K,
                         int64_t O) {
  const Tensor dy = prober.drawn({rows, O}, name + ".dy", 0.1F);
  const Tensor weight = prober.drawn({O, K}, name + ".weight", 0.02F);
  const Tensor pre = prober.drawn({rows, K}, name + ".pre", 1.0F);
  const Tensor dx = prober.empty({rows, K});
  if (prober.counting()) return;
  prober.kernels().linear_backward_input(prober.stream(), dy, weight, Activation::kGelu, pre, dx,
                                         Write::kOverwrite);
  prober.digest(name + ".gelu_backward_input", {dx});
}

Dropout dropout_of(const ArithmeticProbe& sizes) {
  return {.p = static_cast<float>(sizes.dropout), .site = RandomSite::make(kProbeSeed, "dropout")};
}

// The residual stream: sums with what branches add, alone and before a norm, and vectors of tokens.
void probe_stream(Prober& prober, const ArithmeticProbe& sizes, int64_t rows, int64_t V) {
  Kernels& kernels = prober.kernels();
  Stream& stream = prober.stream();
  const int64_t C = sizes.hidden;
  const Dropout dropout = dropout_of(sizes);
  const VocabularyShard shard{0, sizes.tensor};
  const Tensor x = prober.drawn({rows, C}, "stream.x", 1.0F);
  const Tensor delta = prober.drawn({rows, C}, "stream.delta", 1.0F);
  const Tensor gain = prober.drawn({C}, "norm.weight", 1.0F);
  const Tensor bias = prober.drawn({C}, "norm.bias", 0.1F);
  const Tensor sum = prober.empty({rows, C}), y = prober.empty({rows, C});
  const Tensor mean = prober.gradients({rows}), rstd = prober.gradients({rows});
  const Tensor tokens = prober.tokens(1, rows, V * sizes.tensor);
  const Tensor table = prober.drawn({V, C}, "embedding.weight", 0.02F);
  const bool has_positions = !sizes.rotary;
  const Tensor positions =
      has_positions ? prober.drawn({rows, C}, "embedding.positions", 0.02F) : Tensor();
  const Tensor dtable = prober.gradients({V, C});
  const Tensor dpositions = has_positions ? prober.gradients({rows, C}) : Tensor();
  const Tensor workspace = prober.workspace(kernels.embedding_backward_workspace_bytes(rows, V, C));
  if (prober.counting()) return;
  kernels.residual_add(stream, x, delta, dropout, sum);
  prober.digest("residual_add", {sum});
  sizes.rms_norm
      ? kernels.rms_norm_forward(stream, x, delta, dropout, sum, gain, sizes.norm_eps, y, rstd)
      : kernels.layer_norm_forward(stream, x, delta, dropout, sum, gain, bias, sizes.norm_eps, y,
                                   mean, rstd);
  prober.digest("residual_norm", {sum, y});
  kernels.embedding_forward(stream, tokens, table, positions, dropout, sum, shard);
  prober.digest("embedding_forward", {sum});
  kernels.embedding_backward(stream, tokens, x, dropout, dtable, dpositions, Write::kOverwrite,
                             workspace, shard);
  prober.digest("embedding_backward", {dtable, dpositions});
}

// What ranks add up: gradients over the tree and, of tensor ranks, parts of rows.
void probe_sums(Prober& prober, int64_t rows, int64_t C, int64_t num_parts) {
  Kernels& kernels = prober.kernels();
  const Tensor left = prober.drawn(prober.gradients({rows, C}), "sums.left", 0.1F);
  const Tensor right = prober.drawn(prober.gradients({rows, C}), "sums.right", 0.1F);
  const Tensor out = prober.gradients({rows, C});
  const Tensor parts = prober.drawn({num_parts, rows, C}, "sums.parts", 1.0F);
  const Tensor whole = prober.empty({rows, C}), converted = prober.empty({rows, C});
  if (prober.counting()) return;
  kernels.add(prober.stream(), left, right, out);
  prober.digest("add", {out});
  kernels.cast(prober.stream(), out, converted);
  prober.digest("cast", {converted});
  if (num_parts == 1) return;
  kernels.sum_parts(prober.stream(), parts, whole);
  prober.digest("sum_parts", {whole});
}

void probe_layer_norm(Prober& prober, int64_t rows, int64_t C, double eps) {
  Kernels& kernels = prober.kernels();
  const Tensor x = prober.drawn({rows, C}, "norm.x", 1.0F);
  const Tensor dy = prober.drawn({rows, C}, "norm.dy", 0.1F);
  const Tensor weight = prober.drawn({C}, "norm.weight", 1.0F);
  const Tensor bias = prober.drawn({C}, "norm.bias", 0.1F);
  const Tensor y = prober.empty({rows, C}), dx = prober.empty({rows, C});
  const Tensor mean = prober.gradients({rows}), rstd = prober.gradients({rows});
  const Tensor dweight = prober.gradients({C}), dbias = prober.gradients({C});
  const Tensor workspace = prober.workspace(kernels.layer_norm_backward_workspace_bytes(rows, C));
  if (prober.counting()) return;
  kernels.layer_norm_forward(prober.stream(), x, {}, {}, {}, weight, bias, eps, y, mean, rstd);
  prober.digest("layer_norm_forward", {y, mean, rstd});
  kernels.layer_norm_backward(prober.stream(), dy, x, weight, mean, rstd, {}, dx, dweight, dbias,
                              Write::kOverwrite, workspace);
  prober.digest("layer_norm_backward", {dx, dweight, dbias});
}

void probe_rms_norm(Prober& prober, int64_t rows, int64_t C, double eps) {
  Kernels& kernels = prober.kernels();
  const Tensor x = prober.drawn({rows, C}, "norm.x", 1.0F);
  const Tensor dy = prober.drawn({rows, C}, "norm.dy", 0.1F);
  const Tensor weight = prober.drawn({C}, "norm.weight", 1.0F);
  const Tensor y = prober.empty({rows, C}), dx = prober.empty({rows, C});
  const Tensor rstd = prober.gradients({rows}), dweight = prober.gradients({C});
  const Tensor workspace = prober.workspace(kernels.rms_norm_backward_workspace_bytes(rows, C));
  if (prober.counting()) return;
  kernels.rms_norm_forward(prober.stream(), x, {}, {}, {}, weight, eps, y, rstd);
  prober.digest("rms_norm_forward", {y, rstd});
  kernels.rms_norm_backward(prober.stream(), dy, x, weight, rstd, {}, dx, dweight,
                            Write::kOverwrite, workspace);
  prober.digest("rms_norm_backward", {dx, dweight});
}

void probe_swiglu(Prober& prober, int64_t rows, int64_t F) {
  const Tensor gate_up = prober.drawn({rows, 2 * F}, "swiglu.gate_up", 1.0F);
  const Tensor dy = prober.drawn({rows, F}, "swiglu.dy", 0.1F);
  const Tensor y = prober.empty({rows, F}), dgate_up = prober.empty({rows, 2 * F});
  if (prober.counting()) return;
  prober.kernels().swiglu_forward(prober.stream(), gate_up, y);
  prober.digest("swiglu_forward", {y});
  prober.kernels().swiglu_backward(prober.stream(), dy, gate_up, dgate_up);
  prober.digest("swiglu_backward", {dgate_up});
}

void probe_attention(Prober& prober, const ArithmeticProbe& sizes) {
  Kernels& kernels = prober.kernels();
  const int64_t D = sizes.hidden / sizes.heads;
  const AttentionShape shape{.B = 1,
                             .T = std::min(sizes.T, kMaxRows),
                             .G = sizes.kv_heads / sizes.tensor,
                             .R = sizes.heads / sizes.kv_heads,
                             .D = D};
  const Shape packed{1, shape.T, shape.G, shape.R + 2, D};
  const Shape heads{1, shape.T, shape.H(), D};
  const Tensor qkv = prober.drawn(packed, "attention.qkv", 1.0F);
  const Tensor dout = prober.drawn(heads, "attention.dout", 0.1F);
  const Tensor out = prober.empty(heads);
  const Tensor log_sum_exp = prober.gradients({1, shape.H(), shape.T});
  const Tensor dqkv = prober.empty(packed), dropped = prober.empty(packed);
  const Tensor workspace = prober.workspace(kernels.attention_workspace_bytes(shape));
  if (prober.counting()) return;
  if (sizes.rotary) {
    kernels.rotary_forward(prober.stream(), shape, *sizes.rotary, qkv);
    prober.digest("rotary_forward", {qkv});
  }
  kernels.attention_forward(prober.stream(), shape, qkv, {}, out, log_sum_exp, workspace);
  prober.digest("attention_forward", {out, log_sum_exp});
  kernels.attention_backward(prober.stream(), shape, dout, qkv, out, log_sum_exp, {}, dqkv,
                             workspace);
  prober.digest("attention_backward", {dqkv});
  if (sizes.dropout > 0) {
    const Dropout dropout = dropout_of(sizes);
    kernels.attention_forward(prober.stream(), shape, qkv, dropout, out, log_sum_exp, workspace);
    prober.digest("attention_dropout_forward", {out, log_sum_exp});
    kernels.attention_backward(prober.stream(), shape, dout, qkv, out, log_sum_exp, dropout,
                               dropped, workspace);
    prober.digest("attention_dropout_backward", {dropped});
  }
  if (sizes.rotary) {
    kernels.rotary_backward(prober.stream(), shape, *sizes.rotary, dqkv);
    prober.digest("rotary_backward", {dqkv});
  }
}

void probe_loss(Prober& prober, int64_t rows, int64_t V) {
  Kernels& kernels = prober.kernels();
  const Tensor logits = prober.rows_apart(prober.drawn({rows, V}, "loss.logits", 2.0F));
  const Tensor targets = prober.tokens(1, rows, V);
  const Tensor loss = prober.doubles(1);
  const Tensor workspace = prober.workspace(kernels.cross_entropy_workspace_bytes(rows, V));
  if (prober.counting()) return;
  kernels.cross_entropy(prober.stream(), logits, targets.reshape({rows}), 1.0F, loss, workspace);
  prober.digest("cross_entropy", {logits, loss});
}

// The loss over `shards` parts of a vocabulary of `shards` * V.
void probe_cut_loss(Prober& prober, int64_t rows, int64_t V, int64_t shards) {
  Kernels& kernels = prober.kernels();
  const Tensor logits = prober.rows_apart(prober.drawn({rows, V}, "loss.logits", 2.0F));
  const Tensor targets = prober.tokens(1, rows, shards * V);
  const Tensor all = prober.doubles(shards * rows * 3).reshape({shards, rows, 3});
  const Tensor loss = prober.doubles(1);
  const Tensor workspace = prober.workspace(kernels.cross_entropy_workspace_bytes(rows, V));
  if (prober.counting()) return;
  const Tensor of_rows = targets.reshape({rows});
  // The first shard comes last: it replaces the logits.
  for (int64_t shard = shards; shard-- > 0;) {
    kernels.cross_entropy_statistics(prober.stream(), logits, of_rows, {shard, shards}, shard == 0,
                                     all.rows(shard, 1).reshape({rows, 3}));
  }
  prober.digest("cross_entropy_statistics", {logits, all});
  kernels.cross_entropy_from_statistics(prober.stream(), all, of_rows, {0, shards}, 1.0F, logits,
                                        loss, workspace);
  prober.digest("cross_entropy_from_statistics", {logits, loss});
}

void probe_optimizer(Prober& prober) {
  constexpr int64_t kElements = 3 * Kernels::kChunk + 17;
  Kernels& kernels = prober.kernels();
  const auto state = [&](const char* name, float scale) {
    return prober.drawn(prober.gradients({kElements}), name, scale);
  };
  const Tensor parameter = state("optimizer.parameter", 0.02F);
  const Tensor gradient = state("optimizer.gradient", 0.1F);
  const Tensor m = state("optimizer.m", 0.0F);
  const Tensor v = state("optimizer.v", 0.0F);
  const bool has_working_copy = kernels.dtype() != kernels.gradient_dtype();
  const Tensor working = has_working_copy ? prober.empty({kElements}) : Tensor();
  const Tensor sums = prober.doubles(4);
  if (prober.counting()) return;
  kernels.squared_norms(prober.stream(), gradient, 0.125F, sums);
  prober.digest("squared_norms", {sums});
  const AdamWStep step{.lr = 1e-3,
                       .beta1 = 0.9,
                       .beta2 = 0.95,
                       .eps = 1e-8,
                       .weight_decay = 0.1,
                       .correction1 = 0.1,
                       .correction2 = 0.05,
                       .gradient_scale = 0.125,
                       .clip_scale = 0.7};
  kernels.adamw(prober.stream(), step, parameter, gradient, m, v, working);
  prober.digest("adamw", {parameter, m, v, working});
  prober.digest("initial_values", {gradient});
}

// Digests what the host's cosine and powers give, which no kernel shows: learning rates, and
// AdamW's corrections.
void probe_schedule(Prober& prober) {
  constexpr int64_t kSteps = 2000;
  const OptimizerOptions options{.lr = 1, .min_lr = 0.1, .beta1 = 0.9, .beta2 = 0.95};
  const OptimizerOptions slow{.lr = 1, .min_lr = 0.1, .beta1 = 0.99, .beta2 = 0.999};
  std::vector<double> values;
  for (int64_t step = 0; step < kSteps; ++step) {
    values.push_back(learning_rate(options, step, kSteps));
    for (const OptimizerOptions& betas : {options, slow}) {
      const AdamWStep factors = adamw_step(betas, values.back(), step, false, 1, 1);
      values.push_back(factors.correction1);
      values.push_back(factors.correction2);
    }
  }
  prober.digest_host("schedule", values);
}

}  // namespace

void probe_operations(Prober& prober, const ArithmeticProbe& sizes) {
  const int64_t rows = std::min(sizes.B * sizes.T, kMaxRows);
  const int64_t V = std::min(sizes.vocab / sizes.tensor, kMaxVocab);
  const int64_t ffn = sizes.ffn / sizes.tensor;
  const int64_t packed =
      sizes.hidden / sizes.heads * (sizes.heads + 2 * sizes.kv_heads) / sizes.tensor;
  probe_linear(prober, "qkv", rows, sizes.hidden, packed, Activation::kNone);
  if (sizes.gated_mlp) {
    probe_linear(prober, "gate_up", rows, sizes.hidden, 2 * ffn, Activation::kNone);
    probe_swiglu(prober, rows, ffn);
  } else {
    probe_linear(prober, "fc", rows, sizes.hidden, ffn, Activation::kGelu);
  }
  probe_linear(prober, "projection", rows, ffn, sizes.hidden, Activation::kNone);
  if (!sizes.gated_mlp) probe_gelu_gradient(prober, "projection", rows, ffn, sizes.hidden);
  probe_linear(prober, "head", rows, sizes.hidden, V, Activation::kNone);
  sizes.rms_norm ? probe_rms_norm(prober, rows, sizes.hidden, sizes.norm_eps)
                 : probe_layer_norm(prober, rows, sizes.hidden, sizes.norm_eps);
  probe_attention(prober, sizes);
  probe_stream(prober, sizes, rows, V);
  probe_sums(prober, rows, sizes.hidden, sizes.tensor);
  sizes.tensor == 1 ? probe_loss(prober, rows, V) : probe_cut_loss(prober, rows, V, sizes.tensor);
  probe_optimizer(prober);
  probe_schedule(prober);
  if (prober.kernels().order_of_sums() != 0)
    prober.record(kOrderOfSums, prober.kernels().order_of_sums());
}

}  // namespace leasehold
