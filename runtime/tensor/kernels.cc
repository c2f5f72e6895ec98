#include "runtime/tensor/kernels.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "runtime/base/check.h"

namespace leasehold {

namespace {

// Checks of one operation's tensors; a failure names operation and tensor.
class Checker {
 public:
  Checker(const char* operation, const Kernels& kernels)
      : operation_(operation), dtype_(kernels.dtype()), gradient_dtype_(kernels.gradient_dtype()) {}

  DType gradient_dtype() const { return gradient_dtype_; }

  void is(const char* name, const Tensor& tensor, const Shape& shape) const {
    is(name, tensor, shape, dtype_);
  }
  void is(const char* name, const Tensor& tensor, const Shape& shape, DType dtype) const {
    LEASEHOLD_CHECK(tensor.present(), "{}: {} is absent, expected {} {}", operation_, name,
                    dtype_name(dtype), shape.to_string());
    has_type(name, tensor, shape, dtype);
    LEASEHOLD_CHECK(tensor.is_dense(), "{}: {} has rows that begin {} elements apart", operation_,
                    name, tensor.row_stride());
  }
  // Checks dtype() and rows, which are dense or lie further apart: [r] in the contract.
  void is_rows(const char* name, const Tensor& tensor, const Shape& shape) const {
    has_type(name, tensor, shape, dtype_);
  }
  void is_or_absent(const char* name, const Tensor& tensor, const Shape& shape) const {
    if (tensor.present()) is(name, tensor, shape);
  }
  // Of gradient_dtype(): [g] in the contract.
  void is_gradient(const char* name, const Tensor& tensor, const Shape& shape) const {
    is(name, tensor, shape, gradient_dtype_);
  }
  void is_gradient_or_absent(const char* name, const Tensor& tensor, const Shape& shape) const {
    if (tensor.present()) is_gradient(name, tensor, shape);
  }
  void is_absent(const char* name, const Tensor& tensor, const char* because) const {
    LEASEHOLD_CHECK(!tensor.present(), "{}: {} given, but {}", operation_, name, because);
  }
  void has_dims(const char* name, const Tensor& tensor, int num_dims) const {
    LEASEHOLD_CHECK(tensor.present() && tensor.shape().num_dims() == num_dims,
                    "{}: {} is {}, expected {} dims", operation_, name,
                    tensor.present() ? tensor.shape().to_string() : "absent", num_dims);
  }
  void has_workspace(const Tensor& tensor, int64_t size_bytes) const {
    LEASEHOLD_CHECK(tensor.size_bytes() >= size_bytes, "{}: workspace has {} bytes, {} are needed",
                    operation_, tensor.size_bytes(), size_bytes);
  }
  void is_valid(const Dropout& dropout) const {
    LEASEHOLD_CHECK(dropout.p >= 0 && dropout.p < 1, "{}: dropout {} is not in [0, 1)", operation_,
                    dropout.p);
    LEASEHOLD_CHECK(dropout.first_element >= 0, "{}: dropout begins at element {}", operation_,
                    dropout.first_element);
  }
  void is_positive(const char* name, double value) const {
    LEASEHOLD_CHECK(value > 0 && std::isfinite(value), "{}: {} is {}, expected a positive number",
                    operation_, name, value);
  }
  void is_valid(const VocabularyShard& shard) const {
    LEASEHOLD_CHECK(0 <= shard.index && shard.index < shard.count,
                    "{}: shard {} of a vocabulary cut into {}", operation_, shard.index,
                    shard.count);
  }
  void is_any_float(const char* name, const Tensor& tensor) const {
    const DType dtype = tensor.dtype();
    LEASEHOLD_CHECK(
        tensor.present() && (dtype == dtype_ || dtype == gradient_dtype_ || dtype == DType::kF64),
        "{}: {} is {}, expected {}, {} or F64", operation_, name,
        tensor.present() ? dtype_name(dtype) : "absent", dtype_name(dtype_),
        dtype_name(gradient_dtype_));
    LEASEHOLD_CHECK(tensor.is_dense(), "{}: {} is not dense", operation_, name);
  }

 private:
  void has_type(const char* name, const Tensor& tensor, const Shape& shape, DType dtype) const {
    LEASEHOLD_CHECK(tensor.dtype() == dtype && tensor.shape() == shape,
                    "{}: {} is {} {}, expected {} {}", operation_, name, dtype_name(tensor.dtype()),
                    tensor.shape().to_string(), dtype_name(dtype), shape.to_string());
  }

  const char* operation_;
  DType dtype_;
  DType gradient_dtype_;
};

// What the norms' forward passes have in common.
void check_norm(const Checker& check, const Tensor& x, const Tensor& delta, const Dropout& dropout,
                const Tensor& sum, const Tensor& weight, double eps, const Tensor& y,
                const Tensor& rstd) {
  check.has_dims("x", x, 2);
  const int64_t N = x.dim(0), C = x.dim(1);
  check.is("x", x, {N, C});
  check.is_or_absent("delta", delta, {N, C});
  check.is_valid(dropout);
  if (delta.present()) {
    check.is("sum", sum, {N, C});
  } else {
    check.is_absent("sum", sum, "delta is absent");
  }
  check.is("weight", weight, {C});
  check.is_positive("eps", eps);
  check.is("y", y, {N, C});
  check.is_gradient("rstd", rstd, {N});
}

void check_norm_backward(const Checker& check, const Tensor& dy, const Tensor& input,
                         const Tensor& weight, const Tensor& rstd, const Tensor& dresidual,
                         const Tensor& dx, const Tensor& dweight) {
  check.has_dims("dy", dy, 2);
  const int64_t N = dy.dim(0), C = dy.dim(1);
  check.is("dy", dy, {N, C});
  check.is("input", input, {N, C});
  check.is("weight", weight, {C});
  check.is_gradient("rstd", rstd, {N});
  check.is_or_absent("dresidual", dresidual, {N, C});
  check.is("dx", dx, {N, C});
  check.is_gradient("dweight", dweight, {C});
}

void check_qkv(const Checker& check, const AttentionShape& shape, const char* name,
               const Tensor& qkv) {
  LEASEHOLD_CHECK(shape.B > 0 && shape.T > 0 && shape.G > 0 && shape.R > 0 && shape.D > 0,
                  "attention: shape B {} T {} G {} R {} D {}", shape.B, shape.T, shape.G, shape.R,
                  shape.D);
  check.is(name, qkv, {shape.B, shape.T, shape.G, shape.R + 2, shape.D});
}

void check_rotary(const Checker& check, const AttentionShape& shape, const Rotary& rotary) {
  LEASEHOLD_CHECK(shape.D % 2 == 0, "rotary: heads of {} channels have no pairs", shape.D);
  check.is_positive("theta", rotary.theta);
  if (rotary.factor == 0) return;
  check.is_positive("factor", rotary.factor);
  check.is_positive("low_freq_factor", rotary.low_freq_factor);
  check.is_positive("high_freq_factor - low_freq_factor",
                    rotary.high_freq_factor - rotary.low_freq_factor);
}

void check_attention(const Checker& check, const AttentionShape& shape, const Tensor& qkv,
                     const Tensor& out, const Tensor& log_sum_exp, const Dropout& dropout) {
  check_qkv(check, shape, "qkv", qkv);
  LEASEHOLD_CHECK(shape.first_position == 0, "attention: positions from {} on without a cache",
                  shape.first_position);
  check.is("out", out, {shape.B, shape.T, shape.H(), shape.D});
  check.is_gradient("log_sum_exp", log_sum_exp, {shape.B, shape.H(), shape.T});
  const int64_t all_heads = shape.all_heads == 0 ? shape.H() : shape.all_heads;
  LEASEHOLD_CHECK(shape.first_head >= 0 && shape.first_head + shape.H() <= all_heads,
                  "attention: {} heads from {} of {}", shape.H(), shape.first_head,
                  shape.all_heads);
  check.is_valid(dropout);
}

}  // namespace

Status Kernels::use_algorithms(const std::string& text) {
  if (text.empty()) return ok_status();
  return error(Code::kBadConfig, "{} kernels choose no algorithms, and cannot use those of '{}'",
               name(), text.substr(0, text.find('\n')));
}

void Kernels::linear_forward(Stream& stream, Tensor x, Tensor weight, Tensor bias,
                             Activation activation, Tensor pre, Tensor y) {
  const Checker check("linear_forward", *this);
  check.has_dims("x", x, 2);
  check.has_dims("weight", weight, 2);
  const int64_t N = x.dim(0), K = x.dim(1), O = weight.dim(0);
  check.is("x", x, {N, K});
  check.is("weight", weight, {O, K});
  check.is_or_absent("bias", bias, {O});
  if (activation == Activation::kNone) check.is_absent("pre", pre, "there is no activation");
  check.is_or_absent("pre", pre, {N, O});
  if (bias.present() || activation != Activation::kNone) {
    check.is("y", y, {N, O});
  } else {
    check.has_dims("y", y, 2);
    check.is_rows("y", y, {N, O});
  }
  do_linear_forward(stream, x, weight, bias, activation, pre, y);
}

void Kernels::linear_backward_input(Stream& stream, Tensor dy, Tensor weight, Activation activation,
                                    Tensor pre, Tensor dx, Write write) {
  const Checker check("linear_backward_input", *this);
  check.has_dims("dy", dy, 2);
  check.has_dims("weight", weight, 2);
  const int64_t N = dy.dim(0), O = dy.dim(1), K = weight.dim(1);
  check.is_rows("dy", dy, {N, O});
  check.is("weight", weight, {O, K});
  if (activation == Activation::kNone) {
    check.is_absent("pre", pre, "there is no activation");
  } else {
    check.is("pre", pre, {N, K});
    LEASEHOLD_CHECK(write == Write::kOverwrite,
                    "linear_backward_input: an activation's gradient cannot be accumulated");
  }
  check.is("dx", dx, {N, K});
  do_linear_backward_input(stream, dy, weight, activation, pre, dx, write);
}

void Kernels::linear_backward_weight(Stream& stream, Tensor dy, Tensor x, Tensor dweight,
                                     Tensor dbias, Write write) {
  const Checker check("linear_backward_weight", *this);
  check.has_dims("dy", dy, 2);
  check.has_dims("x", x, 2);
  const int64_t N = dy.dim(0), O = dy.dim(1), K = x.dim(1);
  if (dbias.present()) {
    check.is("dy", dy, {N, O});
  } else {
    check.is_rows("dy", dy, {N, O});
  }
  check.is("x", x, {N, K});
  check.is_gradient("dweight", dweight, {O, K});
  check.is_gradient_or_absent("dbias", dbias, {O});
  do_linear_backward_weight(stream, dy, x, dweight, dbias, write);
}

void Kernels::layer_norm_forward(Stream& stream, Tensor x, Tensor delta, const Dropout& dropout,
                                 Tensor sum, Tensor weight, Tensor bias, double eps, Tensor y,
                                 Tensor mean, Tensor rstd) {
  const Checker check("layer_norm_forward", *this);
  check_norm(check, x, delta, dropout, sum, weight, eps, y, rstd);
  check.is("bias", bias, {x.dim(1)});
  check.is_gradient("mean", mean, {x.dim(0)});
  do_layer_norm_forward(stream, x, delta, dropout, sum, weight, bias, eps, y, mean, rstd);
}

void Kernels::layer_norm_backward(Stream& stream, Tensor dy, Tensor input, Tensor weight,
                                  Tensor mean, Tensor rstd, Tensor dresidual, Tensor dx,
                                  Tensor dweight, Tensor dbias, Write write, Tensor workspace) {
  const Checker check("layer_norm_backward", *this);
  check_norm_backward(check, dy, input, weight, rstd, dresidual, dx, dweight);
  check.is_gradient("mean", mean, {dy.dim(0)});
  check.is_gradient("dbias", dbias, {dy.dim(1)});
  check.has_workspace(workspace, layer_norm_backward_workspace_bytes(dy.dim(0), dy.dim(1)));
  do_layer_norm_backward(stream, dy, input, weight, mean, rstd, dresidual, dx, dweight, dbias,
                         write, workspace);
}

void Kernels::rms_norm_forward(Stream& stream, Tensor x, Tensor delta, const Dropout& dropout,
                               Tensor sum, Tensor weight, double eps, Tensor y, Tensor rstd) {
  const Checker check("rms_norm_forward", *this);
  check_norm(check, x, delta, dropout, sum, weight, eps, y, rstd);
  do_rms_norm_forward(stream, x, delta, dropout, sum, weight, eps, y, rstd);
}

void Kernels::rms_norm_backward(Stream& stream, Tensor dy, Tensor input, Tensor weight, Tensor rstd,
                                Tensor dresidual, Tensor dx, Tensor dweight, Write write,
                                Tensor workspace) {
  const Checker check("rms_norm_backward", *this);
  check_norm_backward(check, dy, input, weight, rstd, dresidual, dx, dweight);
  check.has_workspace(workspace, rms_norm_backward_workspace_bytes(dy.dim(0), dy.dim(1)));
  do_rms_norm_backward(stream, dy, input, weight, rstd, dresidual, dx, dweight, write, workspace);
}

void Kernels::swiglu_forward(Stream& stream, Tensor gate_up, Tensor y) {
  const Checker check("swiglu_forward", *this);
  check.has_dims("y", y, 2);
  check.is("gate_up", gate_up, {y.dim(0), 2 * y.dim(1)});
  check.is("y", y, y.shape());
  do_swiglu_forward(stream, gate_up, y);
}

void Kernels::swiglu_backward(Stream& stream, Tensor dy, Tensor gate_up, Tensor dgate_up) {
  const Checker check("swiglu_backward", *this);
  check.has_dims("dy", dy, 2);
  check.is("dy", dy, dy.shape());
  check.is("gate_up", gate_up, {dy.dim(0), 2 * dy.dim(1)});
  check.is("dgate_up", dgate_up, gate_up.shape());
  do_swiglu_backward(stream, dy, gate_up, dgate_up);
}

void Kernels::residual_add(Stream& stream, Tensor x, Tensor delta, const Dropout& dropout,
                           Tensor out) {
  const Checker check("residual_add", *this);
  check.is("out", out, out.shape());
  check.is_or_absent("x", x, out.shape());
  check.is("delta", delta, out.shape());
  check.is_valid(dropout);
  do_residual_add(stream, x, delta, dropout, out);
}

void Kernels::embedding_forward(Stream& stream, Tensor tokens, Tensor token_weight,
                                Tensor position_weight, const Dropout& dropout, Tensor out,
                                const VocabularyShard& shard) {
  const Checker check("embedding_forward", *this);
  check.has_dims("tokens", tokens, 2);
  check.has_dims("token_weight", token_weight, 2);
  const int64_t B = tokens.dim(0), T = tokens.dim(1), C = token_weight.dim(1);
  check.is("tokens", tokens, {B, T}, DType::kI32);
  check.is("token_weight", token_weight, {token_weight.dim(0), C});
  if (position_weight.present()) {
    check.has_dims("position_weight", position_weight, 2);
    check.is("position_weight", position_weight, {std::max(position_weight.dim(0), T), C});
  }
  check.is_valid(dropout);
  check.is_valid(shard);
  check.is("out", out, {B * T, C});
  do_embedding_forward(stream, tokens, token_weight, position_weight, dropout, out, shard);
}

void Kernels::embedding_backward(Stream& stream, Tensor tokens, Tensor dout, const Dropout& dropout,
                                 Tensor dtoken_weight, Tensor dposition_weight, Write write,
                                 Tensor workspace, const VocabularyShard& shard) {
  const Checker check("embedding_backward", *this);
  check.has_dims("tokens", tokens, 2);
  check.has_dims("dtoken_weight", dtoken_weight, 2);
  const int64_t B = tokens.dim(0), T = tokens.dim(1), V = dtoken_weight.dim(0),
                C = dtoken_weight.dim(1);
  check.is("tokens", tokens, {B, T}, DType::kI32);
  check.is("dout", dout, {B * T, C});
  check.is_valid(dropout);
  check.is_valid(shard);
  check.is_gradient("dtoken_weight", dtoken_weight, {V, C});
  if (dposition_weight.present()) {
    check.has_dims("dposition_weight", dposition_weight, 2);
    check.is_gradient("dposition_weight", dposition_weight,
                      {std::max(dposition_weight.dim(0), T), C});
  }
  check.has_workspace(workspace, embedding_backward_workspace_bytes(B * T, V, C));
  do_embedding_backward(stream, tokens, dout, dropout, dtoken_weight, dposition_weight, write,
                        workspace, shard);
}

double Rotary::frequency(int64_t i, int64_t D) const {
  const double plain = std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(D));
  if (factor == 0) return plain;
  // How often it turns within the original sequence: S / w.
  const double turns = static_cast<double>(original_sequence) * plain / (2 * std::numbers::pi);
  if (turns < low_freq_factor) return plain / factor;
  if (turns > high_freq_factor) return plain;
  const double share = (turns - low_freq_factor) / (high_freq_factor - low_freq_factor);
  return share * plain + (1 - share) * plain / factor;
}

void Kernels::rotary_forward(Stream& stream, const AttentionShape& shape, const Rotary& rotary,
                             Tensor qkv) {
  const Checker check("rotary_forward", *this);
  check_qkv(check, shape, "qkv", qkv);
  check_rotary(check, shape, rotary);
  LEASEHOLD_CHECK(shape.first_position == 0 || (shape.first_position > 0 && has_cached_attention()),
                  "rotary_forward: positions from {} on", shape.first_position);
  do_rotary(stream, shape, rotary, qkv, false);
}

void Kernels::rotary_backward(Stream& stream, const AttentionShape& shape, const Rotary& rotary,
                              Tensor dqkv) {
  const Checker check("rotary_backward", *this);
  check_qkv(check, shape, "dqkv", dqkv);
  check_rotary(check, shape, rotary);
  LEASEHOLD_CHECK(shape.first_position == 0, "rotary_backward: positions from {} on",
                  shape.first_position);
  do_rotary(stream, shape, rotary, dqkv, true);
}

void Kernels::attention_forward(Stream& stream, const AttentionShape& shape, Tensor qkv,
                                const Dropout& dropout, Tensor out, Tensor log_sum_exp,
                                Tensor workspace) {
  const Checker check("attention_forward", *this);
  check_attention(check, shape, qkv, out, log_sum_exp, dropout);
  check.has_workspace(workspace, attention_workspace_bytes(shape));
  do_attention_forward(stream, shape, qkv, dropout, out, log_sum_exp, workspace);
}

int64_t Kernels::attention_cached_workspace_bytes(const AttentionShape&, int64_t) const {
  LEASEHOLD_CHECK(has_cached_attention(), "{}: no cached attention", name());
  return 0;
}

void Kernels::do_attention_cached(Stream&, const AttentionShape&, Tensor, Tensor, Tensor, Tensor) {
  LEASEHOLD_CHECK(has_cached_attention(), "{}: no cached attention", name());
}

void Kernels::attention_cached(Stream& stream, const AttentionShape& shape, Tensor qkv, Tensor kv,
                               Tensor out, Tensor workspace) {
  const Checker check("attention_cached", *this);
  check_qkv(check, shape, "qkv", qkv);
  check.has_dims("kv", kv, 5);
  check.is("kv", kv, {shape.B, kv.dim(1), shape.G, 2, shape.D});
  LEASEHOLD_CHECK(0 <= shape.first_position && shape.first_position + shape.T <= kv.dim(1),
                  "attention_cached: {} positions from {} on, but kv has {}", shape.T,
                  shape.first_position, kv.dim(1));
  check.is("out", out, {shape.B, shape.T, shape.H(), shape.D});
  check.has_workspace(workspace, attention_cached_workspace_bytes(shape, kv.dim(1)));
  do_attention_cached(stream, shape, qkv, kv, out, workspace);
}

void Kernels::attention_backward(Stream& stream, const AttentionShape& shape, Tensor dout,
                                 Tensor qkv, Tensor out, Tensor log_sum_exp, const Dropout& dropout,
                                 Tensor dqkv, Tensor workspace) {
  const Checker check("attention_backward", *this);
  check_attention(check, shape, qkv, out, log_sum_exp, dropout);
  check.is("dout", dout, out.shape());
  check.is("dqkv", dqkv, qkv.shape());
  check.has_workspace(workspace, attention_workspace_bytes(shape));
  do_attention_backward(stream, shape, dout, qkv, out, log_sum_exp, dropout, dqkv, workspace);
}

void Kernels::cross_entropy(Stream& stream, Tensor logits, Tensor targets, float gradient_scale,
                            Tensor loss, Tensor workspace) {
  const Checker check("cross_entropy", *this);
  check.has_dims("logits", logits, 2);
  const int64_t N = logits.dim(0), V = logits.dim(1);
  check.is_rows("logits", logits, {N, V});
  check.is("targets", targets.num_elements() == N ? targets.reshape({N}) : targets, {N},
           DType::kI32);
  check.is("loss", loss, {1}, DType::kF64);
  check.has_workspace(workspace, cross_entropy_workspace_bytes(N, V));
  do_cross_entropy(stream, logits, targets, gradient_scale, loss, workspace);
}

void Kernels::cross_entropy_statistics(Stream& stream, Tensor logits, Tensor targets,
                                       const VocabularyShard& shard, bool for_gradient,
                                       Tensor statistics) {
  const Checker check("cross_entropy_statistics", *this);
  check.has_dims("logits", logits, 2);
  const int64_t N = logits.dim(0);
  check.is_rows("logits", logits, {N, logits.dim(1)});
  check.is("targets", targets, {N}, DType::kI32);
  check.is_valid(shard);
  check.is("statistics", statistics, {N, 3}, DType::kF64);
  do_cross_entropy_statistics(stream, logits, targets, shard, for_gradient, statistics);
}

void Kernels::cross_entropy_from_statistics(Stream& stream, Tensor statistics, Tensor targets,
                                            const VocabularyShard& shard, float gradient_scale,
                                            Tensor logits, Tensor loss, Tensor workspace) {
  const Checker check("cross_entropy_from_statistics", *this);
  check.has_dims("statistics", statistics, 3);
  const int64_t N = statistics.dim(1);
  int64_t V = 0;
  check.is_valid(shard);
  check.is("statistics", statistics, {shard.count, N, 3}, DType::kF64);
  check.is("targets", targets, {N}, DType::kI32);
  if (gradient_scale == 0) {
    check.is_absent("logits", logits, "no gradient is asked for");
  } else {
    check.has_dims("logits", logits, 2);
    V = logits.dim(1);
    check.is_rows("logits", logits, {N, V});
  }
  check.is("loss", loss, {1}, DType::kF64);
  check.has_workspace(workspace, cross_entropy_workspace_bytes(N, V));
  do_cross_entropy_from_statistics(stream, statistics, targets, shard, gradient_scale, logits, loss,
                                   workspace);
}

void Kernels::add(Stream& stream, Tensor left, Tensor right, Tensor out) {
  const Checker check("add", *this);
  check.is_any_float("out", out);
  check.is("left", left, out.shape(), out.dtype());
  check.is("right", right, out.shape(), out.dtype());
  do_add(stream, left, right, out);
}

void Kernels::sum_parts(Stream& stream, Tensor parts, Tensor out) {
  const Checker check("sum_parts", *this);
  LEASEHOLD_CHECK(parts.present() && parts.shape().num_dims() > 0 && parts.dim(0) > 0,
                  "sum_parts: there are no parts");
  check.is("parts", parts, parts.shape());
  check.is("out", out, parts.rows(0, 1).reshape(out.shape()).shape());
  do_sum_parts(stream, parts, out);
}

void Kernels::fill(Stream& stream, Tensor out, float value) {
  Checker("fill", *this).is_any_float("out", out);
  do_fill(stream, out, value);
}

void Kernels::cast(Stream& stream, Tensor in, Tensor out) {
  const Checker check("cast", *this);
  for (const DType dtype : {in.dtype(), out.dtype()}) {
    LEASEHOLD_CHECK(dtype == DType::kF32 || dtype == DType::kF64 || dtype == DType::kBf16,
                    "cast: {} is not among F32, F64 and BF16", dtype_name(dtype));
  }
  check.is("in", in, out.shape(), in.dtype());
  check.is("out", out, in.shape(), out.dtype());
  do_cast(stream, in, out);
}

void Kernels::squared_norms(Stream& stream, Tensor x, float scale, Tensor sums) {
  const Checker check("squared_norms", *this);
  check.is_gradient("x", x, x.shape());
  check.is("sums", sums, {(x.num_elements() + kChunk - 1) / kChunk}, DType::kF64);
  do_squared_norms(stream, x, scale, sums);
}

void Kernels::check_adamw(const AdamWStep& step, const AdamWTensors& of) const {
  const Checker check("adamw", *this);
  const Tensor& parameter = of.parameter;
  check.is_gradient("parameter", parameter, parameter.shape());
  check.is_gradient("gradient", of.gradient, parameter.shape());
  check.is_gradient("m", of.m, parameter.shape());
  check.is_gradient("v", of.v, parameter.shape());
  LEASEHOLD_CHECK(step.correction1 > 0 && step.correction2 > 0,
                  "adamw: corrections {} and {} are not positive", step.correction1,
                  step.correction2);
  if (dtype() == gradient_dtype()) {
    check.is_absent("working", of.working, "weights are computed with as they are kept");
  } else {
    check.is_or_absent("working", of.working, parameter.shape());
  }
}

void Kernels::adamw(Stream& stream, const AdamWStep& step, Tensor parameter, Tensor gradient,
                    Tensor m, Tensor v, Tensor working) {
  check_adamw(step, {parameter, gradient, m, v, working});
  do_adamw(stream, step, parameter, gradient, m, v, working);
}

void Kernels::adamw_all(Stream& stream, const AdamWStep& decayed, const AdamWStep& plain,
                        std::span<const AdamWTensors> all) {
  for (const AdamWTensors& of : all) {
    check_adamw(of.decays ? decayed : plain, of);
    LEASEHOLD_CHECK(of.working.present() == all.front().working.present(),
                    "adamw: some have working copies, and others none");
  }
  do_adamw_all(stream, decayed, plain, all);
}

void Kernels::do_adamw_all(Stream& stream, const AdamWStep& decayed, const AdamWStep& plain,
                           std::span<const AdamWTensors> all) {
  for (const AdamWTensors& of : all) {
    do_adamw(stream, of.decays ? decayed : plain, of.parameter, of.gradient, of.m, of.v,
             of.working);
  }
}

}  // namespace leasehold
