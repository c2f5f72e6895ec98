// Letters as in kernels.h.
#include "bench/profiling_kernels.h"

#include <algorithm>
#include <map>

#include "bench/formulas.h"

namespace leasehold {

void ProfilingKernels::begin() {
  calls_.clear();
  stopwatch_->reset();
  is_on_ = true;
}

Profile ProfilingKernels::collect() {
  is_on_ = false;
  Profile profile;
  std::map<Key, OperationTime> by_key;
  double first_s = 0, last_s = 0;  // from the first mark
  for (const Call& call : calls_) {
    const double begin_s = stopwatch_->seconds_between(0, call.begin);
    const double seconds = stopwatch_->seconds_between(call.begin, call.end);
    first_s = std::min(first_s, begin_s);
    last_s = std::max(last_s, begin_s + seconds);
    OperationTime& operation = by_key[{call.name, call.N, call.K, call.O}];
    ++operation.calls;
    operation.seconds += seconds;
    operation.flops += call.flops;
    profile.operations_s += seconds;
  }
  profile.span_s = last_s - first_s;
  for (auto& [key, operation] : by_key) {
    const auto& [name, N, K, O] = key;
    operation.name = name;
    if (N > 0) operation.shape = fmt::format("N {} K {} O {}", N, K, O);
    profile.operations.push_back(std::move(operation));
  }
  std::ranges::stable_sort(profile.operations, std::ranges::greater(), &OperationTime::seconds);
  return profile;
}

template <typename Operation>
void ProfilingKernels::timed(Stream& stream, Call call, Operation&& operation) {
  if (!is_on_) return operation();
  call.begin = stopwatch_->mark(stream);
  operation();
  call.end = stopwatch_->mark(stream);
  calls_.push_back(call);
}

namespace {

double linear(const Tensor& rows, const Tensor& weight) {
  return linear_flops(rows.dim(0), weight.dim(1), weight.dim(0));
}

}  // namespace

void ProfilingKernels::do_linear_forward(Stream& stream, Tensor x, Tensor weight, Tensor bias,
                                         Activation activation, Tensor pre, Tensor y) {
  timed(stream, {"linear_forward", x.dim(0), weight.dim(1), weight.dim(0), linear(x, weight)},
        [&] { inner_.linear_forward(stream, x, weight, bias, activation, pre, y); });
}

void ProfilingKernels::do_linear_backward_input(Stream& stream, Tensor dy, Tensor weight,
                                                Activation activation, Tensor pre, Tensor dx,
                                                Write write) {
  timed(stream,
        {"linear_backward_input", dy.dim(0), weight.dim(1), weight.dim(0), linear(dy, weight)},
        [&] { inner_.linear_backward_input(stream, dy, weight, activation, pre, dx, write); });
}

void ProfilingKernels::do_linear_backward_weight(Stream& stream, Tensor dy, Tensor x,
                                                 Tensor dweight, Tensor dbias, Write write) {
  timed(stream,
        {"linear_backward_weight", dy.dim(0), dweight.dim(1), dweight.dim(0), linear(dy, dweight)},
        [&] { inner_.linear_backward_weight(stream, dy, x, dweight, dbias, write); });
}

void ProfilingKernels::do_layer_norm_forward(Stream& stream, Tensor x, Tensor delta,
                                             const Dropout& dropout, Tensor sum, Tensor weight,
                                             Tensor bias, double eps, Tensor y, Tensor mean,
                                             Tensor rstd) {
  timed(stream, {"layer_norm_forward"}, [&] {
    inner_.layer_norm_forward(stream, x, delta, dropout, sum, weight, bias, eps, y, mean, rstd);
  });
}

void ProfilingKernels::do_layer_norm_backward(Stream& stream, Tensor dy, Tensor input,
                                              Tensor weight, Tensor mean, Tensor rstd,
                                              Tensor dresidual, Tensor dx, Tensor dweight,
                                              Tensor dbias, Write write, Tensor workspace) {
  timed(stream, {"layer_norm_backward"}, [&] {
    inner_.layer_norm_backward(stream, dy, input, weight, mean, rstd, dresidual, dx, dweight, dbias,
                               write, workspace);
  });
}

void ProfilingKernels::do_rms_norm_forward(Stream& stream, Tensor x, Tensor delta,
                                           const Dropout& dropout, Tensor sum, Tensor weight,
                                           double eps, Tensor y, Tensor rstd) {
  timed(stream, {"rms_norm_forward"},
        [&] { inner_.rms_norm_forward(stream, x, delta, dropout, sum, weight, eps, y, rstd); });
}

void ProfilingKernels::do_rms_norm_backward(Stream& stream, Tensor dy, Tensor input, Tensor weight,
                                            Tensor rstd, Tensor dresidual, Tensor dx,
                                            Tensor dweight, Write write, Tensor workspace) {
  timed(stream, {"rms_norm_backward"}, [&] {
    inner_.rms_norm_backward(stream, dy, input, weight, rstd, dresidual, dx, dweight, write,
                             workspace);
  });
}

void ProfilingKernels::do_swiglu_forward(Stream& stream, Tensor gate_up, Tensor y) {
  timed(stream, {"swiglu_forward"}, [&] { inner_.swiglu_forward(stream, gate_up, y); });
}

void ProfilingKernels::do_swiglu_backward(Stream& stream, Tensor dy, Tensor gate_up,
                                          Tensor dgate_up) {
  timed(stream, {"swiglu_backward"},
        [&] { inner_.swiglu_backward(stream, dy, gate_up, dgate_up); });
}

void ProfilingKernels::do_residual_add(Stream& stream, Tensor x, Tensor delta,
                                       const Dropout& dropout, Tensor out) {
  timed(stream, {"residual_add"}, [&] { inner_.residual_add(stream, x, delta, dropout, out); });
}

void ProfilingKernels::do_embedding_forward(Stream& stream, Tensor tokens, Tensor token_weight,
                                            Tensor position_weight, const Dropout& dropout,
                                            Tensor out, const VocabularyShard& shard) {
  timed(stream, {"embedding_forward"}, [&] {
    inner_.embedding_forward(stream, tokens, token_weight, position_weight, dropout, out, shard);
  });
}

void ProfilingKernels::do_embedding_backward(Stream& stream, Tensor tokens, Tensor dout,
                                             const Dropout& dropout, Tensor dtoken_weight,
                                             Tensor dposition_weight, Write write, Tensor workspace,
                                             const VocabularyShard& shard) {
  timed(stream, {"embedding_backward"}, [&] {
    inner_.embedding_backward(stream, tokens, dout, dropout, dtoken_weight, dposition_weight, write,
                              workspace, shard);
  });
}

void ProfilingKernels::do_rotary(Stream& stream, const AttentionShape& shape, const Rotary& rotary,
                                 Tensor qkv, bool backward) {
  timed(stream, {backward ? "rotary_backward" : "rotary_forward"}, [&] {
    if (backward) {
      inner_.rotary_backward(stream, shape, rotary, qkv);
    } else {
      inner_.rotary_forward(stream, shape, rotary, qkv);
    }
  });
}

void ProfilingKernels::do_attention_forward(Stream& stream, const AttentionShape& shape, Tensor qkv,
                                            const Dropout& dropout, Tensor out, Tensor log_sum_exp,
                                            Tensor workspace) {
  timed(stream, {"attention_forward", 0, 0, 0, attention_forward_flops(shape)}, [&] {
    inner_.attention_forward(stream, shape, qkv, dropout, out, log_sum_exp, workspace);
  });
}

void ProfilingKernels::do_attention_backward(Stream& stream, const AttentionShape& shape,
                                             Tensor dout, Tensor qkv, Tensor out,
                                             Tensor log_sum_exp, const Dropout& dropout,
                                             Tensor dqkv, Tensor workspace) {
  timed(stream, {"attention_backward", 0, 0, 0, attention_backward_flops(shape)}, [&] {
    inner_.attention_backward(stream, shape, dout, qkv, out, log_sum_exp, dropout, dqkv, workspace);
  });
}

void ProfilingKernels::do_cross_entropy(Stream& stream, Tensor logits, Tensor targets,
                                        float gradient_scale, Tensor loss, Tensor workspace) {
  timed(stream, {"cross_entropy"},
        [&] { inner_.cross_entropy(stream, logits, targets, gradient_scale, loss, workspace); });
}

void ProfilingKernels::do_cross_entropy_statistics(Stream& stream, Tensor logits, Tensor targets,
                                                   const VocabularyShard& shard, bool for_gradient,
                                                   Tensor statistics) {
  timed(stream, {"cross_entropy_statistics"}, [&] {
    inner_.cross_entropy_statistics(stream, logits, targets, shard, for_gradient, statistics);
  });
}

void ProfilingKernels::do_cross_entropy_from_statistics(Stream& stream, Tensor statistics,
                                                        Tensor targets,
                                                        const VocabularyShard& shard,
                                                        float gradient_scale, Tensor logits,
                                                        Tensor loss, Tensor workspace) {
  timed(stream, {"cross_entropy_from_statistics"}, [&] {
    inner_.cross_entropy_from_statistics(stream, statistics, targets, shard, gradient_scale, logits,
                                         loss, workspace);
  });
}

void ProfilingKernels::do_add(Stream& stream, Tensor left, Tensor right, Tensor out) {
  timed(stream, {"add"}, [&] { inner_.add(stream, left, right, out); });
}

void ProfilingKernels::do_sum_parts(Stream& stream, Tensor parts, Tensor out) {
  timed(stream, {"sum_parts"}, [&] { inner_.sum_parts(stream, parts, out); });
}

void ProfilingKernels::do_fill(Stream& stream, Tensor out, float value) {
  timed(stream, {"fill"}, [&] { inner_.fill(stream, out, value); });
}

void ProfilingKernels::do_cast(Stream& stream, Tensor in, Tensor out) {
  timed(stream, {"cast"}, [&] { inner_.cast(stream, in, out); });
}

void ProfilingKernels::do_squared_norms(Stream& stream, Tensor x, float scale, Tensor sums) {
  timed(stream, {"squared_norms"}, [&] { inner_.squared_norms(stream, x, scale, sums); });
}

void ProfilingKernels::do_adamw(Stream& stream, const AdamWStep& step, Tensor parameter,
                                Tensor gradient, Tensor m, Tensor v, Tensor working) {
  timed(stream, {"adamw"}, [&] { inner_.adamw(stream, step, parameter, gradient, m, v, working); });
}

void ProfilingKernels::do_adamw_all(Stream& stream, const AdamWStep& decayed,
                                    const AdamWStep& plain, std::span<const AdamWTensors> all) {
  timed(stream, {"adamw"}, [&] { inner_.adamw_all(stream, decayed, plain, all); });
}

}  // namespace leasehold
