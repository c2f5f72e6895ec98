// The operations that models and the trainer are made of. One interface, implemented by CPU kernels
// (fp32 and bf16, fast), by reference kernels (double, plain; tests) and by CUDA. Every call only
// enqueues on the stream.
//
// Letters: B sequences, T positions, N = B * T tokens, C hidden channels, K input and O output
// channels of a linear, V vocabulary, H heads, G kv heads, R = H / G query heads per kv head, D
// head dimension.
//
// Rules for all: tensors are dense and row-major, but for those marked [r], whose rows may lie
// further apart (Tensor::columns): what lies between the rows is neither read nor written, and bits
// may depend on the distance. "(…) or absent" allows the empty Tensor; outputs never alias inputs
// unless said; results do not depend on the number of threads, on which rank
// computes, or on what lies in output buffers before (kOverwrite) and contain no atomics.
// `workspace` is scratch of at least the stated size, used by this call alone until the stream
// passed it. Shapes and dtypes are checked by the public functions (LEASEHOLD_CHECK); the virtual
// do_ functions compute.
//
// Precision: floating tensors are of dtype() unless said, those marked [g] of gradient_dtype(). In
// bf16 an operation computes in fp32, sums of products and all other sums too, and each element of
// an output of dtype() is rounded once, to nearest even, when it is stored; nothing else is rounded
// to bf16 but what an operation names. What kAccumulate adds to a tensor of dtype() is added in
// fp32, then rounded. Linears on a GPU may round the product itself too, before a bias, GELU or
// what it is added to: cuBLASLt does, for some shapes.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "runtime/base/random.h"
#include "runtime/device/device.h"
#include "runtime/tensor/tensor.h"

namespace leasehold {

// What happens to the present content of a gradient: lost, or added to (new = old + contribution).
enum class Write { kOverwrite, kAccumulate };

// Fused into a linear. kGelu is GPT-2's: 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))
// (Hendrycks and Gimpel, arXiv:1606.08415).
enum class Activation { kNone, kGelu };

// Inverted dropout: keeps element i with probability 1 - p and scales it by 1 / (1 - p). Element i
// is dropped when site.uniform(first_element + i) < p: the mask is never stored. p = 0 means none,
// and draws nothing.
struct Dropout {
  float p = 0;
  RandomSite site;
  int64_t first_element = 0;  // index of this tensor's element 0 in the unsharded tensor
};

// Causal self-attention over packed heads: qkv is (B, T, G, R + 2, D), for each kv head its R query
// heads, then key, then value. Where heads are cut over ranks, H are those here, which are heads
// [first_head, first_head + H) of all_heads. Probabilities get dropout; element index ((b all_heads
// + first_head + h) T + query) T + key.
struct AttentionShape {
  int64_t B = 0, T = 0, G = 0, R = 0, D = 0;
  int64_t first_head = 0;
  int64_t all_heads = 0;  // 0: H
  // The place of the first of the T positions in its text, for rotary_forward and attention_cached.
  // The other operations want 0.
  int64_t first_position = 0;
  int64_t H() const { return G * R; }
};

// Rotary positions (Su et al., arXiv:2104.09864): channels (i, i + D/2) of a head at position t
// turn by t * frequency(i), frequency(i) = theta^(-2i/D). With a factor, Llama-3's scaling: with
// wavelength w = 2 pi / frequency and S = original_sequence, frequencies with w > S /
// low_freq_factor are divided by `factor`, those with w < S / high_freq_factor stay, and between
// the two it is s * frequency + (1 - s) * frequency / factor with s = (S / w - low_freq_factor) /
// (high_freq_factor - low_freq_factor). Angles, sines and cosines are formed in double.
struct Rotary {
  double theta = 10000;
  double factor = 0;  // 0: no scaling
  double low_freq_factor = 1;
  double high_freq_factor = 4;
  int64_t original_sequence = 8192;

  double frequency(int64_t i, int64_t D) const;
};

// Which of `count` equal parts of a vocabulary a tensor with V rows or columns for it holds: ids
// [index V, (index + 1) V) of count V. The default is the whole.
struct VocabularyShard {
  int64_t index = 0;
  int64_t count = 1;
};

// One AdamW step (Loshchilov and Hutter, arXiv:1711.05101, as PyTorch orders it): with g =
// (gradient * gradient_scale) * clip_scale: m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2)
// g^2; p -= lr * weight_decay * p; p -= lr * (m / correction1) / (sqrt(v / correction2) + eps).
// Doubles: 1 - beta, 1 - lr * weight_decay and the like are formed in double and rounded to
// gradient_dtype() once (1 - 0.999 in fp32 is wrong in the fifth digit).
struct AdamWStep {
  double lr = 0, beta1 = 0, beta2 = 0, eps = 0, weight_decay = 0;
  double correction1 = 1, correction2 = 1;  // 1 - beta^t
  double gradient_scale = 1, clip_scale = 1;
};

// One of several ranges that a call of adamw updates, all flat and of one extent.
struct AdamWTensors {
  Tensor parameter, gradient, m, v;
  Tensor working = {};
  bool decays = false;
};

class Kernels {
 public:
  static constexpr int64_t kChunk = 4096;  // elements per chunk of squared_norms

  virtual ~Kernels() = default;
  // Of activations, their gradients, and the weights that models compute with: f32, bf16, or f64
  // (reference).
  virtual DType dtype() const = 0;
  // Of gradients of parameters, master weights, moments, and of what norms and attention keep per
  // row: f32, or f64 where dtype() is.
  DType gradient_dtype() const { return dtype() == DType::kF64 ? DType::kF64 : DType::kF32; }
  virtual const char* name() const = 0;  // "cpu", "reference", "cuda"
  // One line that names everything besides the inputs that decides bits: BLAS version and core,
  // instruction set, tile sizes. Part of the arithmetic class.
  virtual std::string arithmetic_class() const = 0;
  // Raised when sums that no digest of a few rows shows (train/arithmetic_class.h) are added in
  // another order. 0: they never were.
  virtual uint64_t order_of_sums() const { return 0; }
  // What was chosen while running and decides bits (the algorithms of matrix products, by shape),
  // as text (algorithm_choices.h) of one library; empty where nothing ever is. use_algorithms()
  // takes such a text over and forgets what was chosen here: kBadConfig, and nothing changed, where
  // these kernels cannot compute those bits. While none of their work is being enqueued.
  virtual std::string algorithms() const { return {}; }
  virtual Status use_algorithms(const std::string& text);
  // How often a choice was made here so far: it grows when a product is met that is not in the
  // text.
  virtual int64_t num_choices() const { return 0; }

  // y (N, O) [r] = activation(x (N, K) weight (O, K)^T + bias (O) or absent). y is dense where
  // there is a bias or an activation. With kGelu `pre` (N, O) receives the value before the
  // activation, for backward; it may be absent when no backward follows. The activation is of the
  // value that is not rounded yet: y has the same bits with and without `pre`, but in bf16 on a
  // GPU, where an algorithm is chosen for either.
  void linear_forward(Stream& stream, Tensor x, Tensor weight, Tensor bias, Activation activation,
                      Tensor pre, Tensor y);
  // dx (N, K) = dy (N, O) [r] weight (O, K); with kGelu then times gelu'(pre (N, K)), pre being
  // what the earlier linear kept. kAccumulate adds to dx (not with kGelu).
  void linear_backward_input(Stream& stream, Tensor dy, Tensor weight, Activation activation,
                             Tensor pre, Tensor dx, Write write);
  // dweight (O, K) [g] = dy^T x; dbias (O) [g] or absent = column sums of dy, rows in a fixed tree
  // or order. dy (N, O) [r] is dense where dbias is wanted.
  void linear_backward_weight(Stream& stream, Tensor dy, Tensor x, Tensor dweight, Tensor dbias,
                              Write write);

  // sum (N, C) = x + dropout(delta); y = (sum - mean) rstd weight + bias, mean (N) [g], rstd (N)
  // [g] kept. What is normalised is the sum as it was stored. With delta absent, sum must be absent
  // too and x is normalised. sum may alias x or delta. eps, above 0, is added to the variance.
  void layer_norm_forward(Stream& stream, Tensor x, Tensor delta, const Dropout& dropout,
                          Tensor sum, Tensor weight, Tensor bias, double eps, Tensor y, Tensor mean,
                          Tensor rstd);
  // dx (N, C) = dresidual (N, C) or absent + gradient through the norm of `input` (what was
  // normalised). dx may alias dresidual or dy. dweight (C) [g], dbias (C) [g]. workspace:
  // layer_norm_backward_workspace_bytes.
  void layer_norm_backward(Stream& stream, Tensor dy, Tensor input, Tensor weight, Tensor mean,
                           Tensor rstd, Tensor dresidual, Tensor dx, Tensor dweight, Tensor dbias,
                           Write write, Tensor workspace);
  virtual int64_t layer_norm_backward_workspace_bytes(int64_t N, int64_t C) const = 0;

  // As layer_norm_forward without mean and bias (Zhang and Sennrich, arXiv:1910.07467): y = sum *
  // rstd * weight, rstd (N) [g] = 1 / sqrt(mean of sum^2 + eps) kept.
  void rms_norm_forward(Stream& stream, Tensor x, Tensor delta, const Dropout& dropout, Tensor sum,
                        Tensor weight, double eps, Tensor y, Tensor rstd);
  // As layer_norm_backward. workspace: rms_norm_backward_workspace_bytes.
  void rms_norm_backward(Stream& stream, Tensor dy, Tensor input, Tensor weight, Tensor rstd,
                         Tensor dresidual, Tensor dx, Tensor dweight, Write write,
                         Tensor workspace);
  virtual int64_t rms_norm_backward_workspace_bytes(int64_t N, int64_t C) const = 0;

  // y (N, F) = silu(gate) * up with gate_up (N, 2 F), each row's gate before its up; silu(x) = x /
  // (1 + e^-x) (Shazeer, arXiv:2002.05202).
  void swiglu_forward(Stream& stream, Tensor gate_up, Tensor y);
  // dgate_up like gate_up from dy (N, F). dgate_up may alias gate_up.
  void swiglu_backward(Stream& stream, Tensor dy, Tensor gate_up, Tensor dgate_up);

  // out (N, C) = x (N, C) or absent + dropout(delta (N, C)). out may alias either. Also dropout's
  // own backward. Any one shape.
  void residual_add(Stream& stream, Tensor x, Tensor delta, const Dropout& dropout, Tensor out);

  // out (B*T, C) = dropout(token_weight (V, C)[tokens (B, T) i32] + position_weight (>= T, C)[t]).
  // position_weight may be absent. Of a shard of the vocabulary the vectors of tokens elsewhere are
  // zero. A token outside the whole vocabulary fails the stream, here and in the backward.
  void embedding_forward(Stream& stream, Tensor tokens, Tensor token_weight, Tensor position_weight,
                         const Dropout& dropout, Tensor out, const VocabularyShard& shard = {});
  // Gradients of both tables [g] from dout (B*T, C), tokens in ascending order of row;
  // dposition_weight may be absent. Rows that no token names get zero under kOverwrite. workspace:
  // embedding_backward_workspace_bytes.
  void embedding_backward(Stream& stream, Tensor tokens, Tensor dout, const Dropout& dropout,
                          Tensor dtoken_weight, Tensor dposition_weight, Write write,
                          Tensor workspace, const VocabularyShard& shard = {});
  virtual int64_t embedding_backward_workspace_bytes(int64_t N, int64_t V, int64_t C) const = 0;

  // Turns queries and keys in qkv (B, T, G, R + 2, D) by their positions, from first_position on,
  // in place; values stay. D even. first_position other than 0 wants has_cached_attention().
  void rotary_forward(Stream& stream, const AttentionShape& shape, const Rotary& rotary,
                      Tensor qkv);
  // Its backward, which turns them back: of dqkv, in place.
  void rotary_backward(Stream& stream, const AttentionShape& shape, const Rotary& rotary,
                       Tensor dqkv);

  // out (B, T, H, D) = softmax(scale q k^T, causal) v; log_sum_exp (B, H, T) [g] kept. scale = 1 /
  // sqrt(D). In bf16 the exponentials of a row, after dropout and with any factor common to a
  // query's keys in a block of them, are rounded to bf16 before they are multiplied by v; the sum
  // that divides them is of those before dropout and rounding.
  void attention_forward(Stream& stream, const AttentionShape& shape, Tensor qkv,
                         const Dropout& dropout, Tensor out, Tensor log_sum_exp, Tensor workspace);
  // dqkv like qkv from dout like out. Memory grows with T, not T^2, in both. With P =
  // exp(scale q k^T - log_sum_exp), F dropout's factors, dP = (dout v^T) F and dS = P (dP -
  // rowsum(dout out)): dv = (P F)^T dout, dq = scale dS k, dk = scale dS^T q. In bf16 P F and dS
  // are rounded to bf16 before these three products (dS is formed from what is not rounded), and
  // dk, dv once, when the sums over all queries of the head's group are complete.
  void attention_backward(Stream& stream, const AttentionShape& shape, Tensor dout, Tensor qkv,
                          Tensor out, Tensor log_sum_exp, const Dropout& dropout, Tensor dqkv,
                          Tensor workspace);
  virtual int64_t attention_workspace_bytes(
      const AttentionShape& shape) const = 0;  // the larger of both

  // The same for the newest T positions of texts of which kv (B, S, G, 2, D) holds each earlier
  // position's keys and then values: writes the T of qkv, from first_position on, into kv, and out
  // (B, T, H, D) of their queries, each attending to every position up to its own. first_position +
  // T <= S. For text generation: no dropout, no backward. Where one position is asked for (T = 1)
  // sums run in another order than attention_forward's, in the same precision. Only where
  // has_cached_attention(). workspace: attention_cached_workspace_bytes.
  void attention_cached(Stream& stream, const AttentionShape& shape, Tensor qkv, Tensor kv,
                        Tensor out, Tensor workspace);
  virtual bool has_cached_attention() const { return false; }
  // For any first_position that `positions` (S) leaves room for.
  virtual int64_t attention_cached_workspace_bytes(const AttentionShape& shape,
                                                   int64_t positions) const;

  // loss (1) f64 = sum over rows of log_sum_exp(logits (N, V) [r] row) - logits[target], rows with
  // target < 0 left out, in double and in a fixed order. With gradient_scale != 0 the logits are
  // replaced by gradient_scale * (softmax - onehot), zero in rows left out; with 0 they are left as
  // they are. In bf16 the gradient is rounded, exponentials before it are not. A target of V or
  // more fails the stream. workspace: cross_entropy_workspace_bytes.
  void cross_entropy(Stream& stream, Tensor logits, Tensor targets, float gradient_scale,
                     Tensor loss, Tensor workspace);
  virtual int64_t cross_entropy_workspace_bytes(int64_t N, int64_t V) const = 0;

  // The same in two calls where the vocabulary is cut over ranks, which exchange their statistics
  // between the calls; with one shard, the same bits.
  // statistics (N, 3) f64 of the logits (N, V) [r] here, per row: the largest logit, the sum of
  // exp(logit - largest), in a fixed order, and the target's logit, 0 where another shard has it.
  // All 0 in rows left out. With for_gradient the logits become what the second call makes the
  // gradient of, which is the implementation's choice (exponentials, or the logits as they are);
  // else they are left as they are. A target outside the whole vocabulary fails the stream.
  void cross_entropy_statistics(Stream& stream, Tensor logits, Tensor targets,
                                const VocabularyShard& shard, bool for_gradient, Tensor statistics);
  // loss (1) as cross_entropy's, from the statistics (shard.count, N, 3) of all shards in their
  // order, which sums over shards keep: ranks that are given the same compute the same bits. With
  // gradient_scale != 0, `logits` (N, V) [r] holds what cross_entropy_statistics(for_gradient)
  // left, and becomes the gradient; with 0 it must be absent. workspace:
  // cross_entropy_workspace_bytes.
  void cross_entropy_from_statistics(Stream& stream, Tensor statistics, Tensor targets,
                                     const VocabularyShard& shard, float gradient_scale,
                                     Tensor logits, Tensor loss, Tensor workspace);

  // out = left + right, elementwise, all of dtype(), all of gradient_dtype() or all f64 (losses);
  // out may alias either. On gradient_dtype() the canonical tree's node.
  void add(Stream& stream, Tensor left, Tensor right, Tensor out);
  // out (…) = parts[0] + parts[1] + ... of parts (P, …), P >= 1, added in this order. In f32 the
  // same bits as add after add; in bf16 rounded once. Sums over tensor ranks.
  void sum_parts(Stream& stream, Tensor parts, Tensor out);
  // out = value everywhere; of dtype(), gradient_dtype() or f64.
  void fill(Stream& stream, Tensor out, float value);
  // out = in, converted; round to nearest even. dtypes f32, f64, bf16 on either side.
  void cast(Stream& stream, Tensor in, Tensor out);

  // sums (ceil(n / kChunk)) f64: per chunk of 4096 elements of x (n) [g] the sum of (x_i *
  // scale)^2: the product in gradient_dtype(), squared and added in double in a fixed order.
  void squared_norms(Stream& stream, Tensor x, float scale, Tensor sums);
  // One AdamW step on flat state of n elements each, all [g]; in place on parameter, m, v. Where
  // dtype() is narrower than gradient_dtype(), `working` (n) of dtype() receives the new parameter,
  // rounded to nearest even; it may be absent, and must be where the two are the same.
  void adamw(Stream& stream, const AdamWStep& step, Tensor parameter, Tensor gradient, Tensor m,
             Tensor v, Tensor working = {});
  // As adamw of each, the same bits: with `decayed` where it decays, else with `plain`. None
  // overlaps another; all have working copies or none has. A GPU takes many in one launch.
  void adamw_all(Stream& stream, const AdamWStep& decayed, const AdamWStep& plain,
                 std::span<const AdamWTensors> all);

 protected:
  virtual void do_linear_forward(Stream&, Tensor x, Tensor weight, Tensor bias, Activation,
                                 Tensor pre, Tensor y) = 0;
  virtual void do_linear_backward_input(Stream&, Tensor dy, Tensor weight, Activation, Tensor pre,
                                        Tensor dx, Write) = 0;
  virtual void do_linear_backward_weight(Stream&, Tensor dy, Tensor x, Tensor dweight, Tensor dbias,
                                         Write) = 0;
  virtual void do_layer_norm_forward(Stream&, Tensor x, Tensor delta, const Dropout&, Tensor sum,
                                     Tensor weight, Tensor bias, double eps, Tensor y, Tensor mean,
                                     Tensor rstd) = 0;
  virtual void do_layer_norm_backward(Stream&, Tensor dy, Tensor input, Tensor weight, Tensor mean,
                                      Tensor rstd, Tensor dresidual, Tensor dx, Tensor dweight,
                                      Tensor dbias, Write, Tensor workspace) = 0;
  virtual void do_rms_norm_forward(Stream&, Tensor x, Tensor delta, const Dropout&, Tensor sum,
                                   Tensor weight, double eps, Tensor y, Tensor rstd) = 0;
  virtual void do_rms_norm_backward(Stream&, Tensor dy, Tensor input, Tensor weight, Tensor rstd,
                                    Tensor dresidual, Tensor dx, Tensor dweight, Write,
                                    Tensor workspace) = 0;
  virtual void do_swiglu_forward(Stream&, Tensor gate_up, Tensor y) = 0;
  virtual void do_swiglu_backward(Stream&, Tensor dy, Tensor gate_up, Tensor dgate_up) = 0;
  virtual void do_residual_add(Stream&, Tensor x, Tensor delta, const Dropout&, Tensor out) = 0;
  virtual void do_embedding_forward(Stream&, Tensor tokens, Tensor token_weight,
                                    Tensor position_weight, const Dropout&, Tensor out,
                                    const VocabularyShard&) = 0;
  virtual void do_embedding_backward(Stream&, Tensor tokens, Tensor dout, const Dropout&,
                                     Tensor dtoken_weight, Tensor dposition_weight, Write,
                                     Tensor workspace, const VocabularyShard&) = 0;
  virtual void do_rotary(Stream&, const AttentionShape&, const Rotary&, Tensor qkv,
                         bool backward) = 0;
  virtual void do_attention_forward(Stream&, const AttentionShape&, Tensor qkv, const Dropout&,
                                    Tensor out, Tensor log_sum_exp, Tensor workspace) = 0;
  virtual void do_attention_backward(Stream&, const AttentionShape&, Tensor dout, Tensor qkv,
                                     Tensor out, Tensor log_sum_exp, const Dropout&, Tensor dqkv,
                                     Tensor workspace) = 0;
  virtual void do_attention_cached(Stream&, const AttentionShape&, Tensor qkv, Tensor kv,
                                   Tensor out, Tensor workspace);
  virtual void do_cross_entropy(Stream&, Tensor logits, Tensor targets, float gradient_scale,
                                Tensor loss, Tensor workspace) = 0;
  virtual void do_cross_entropy_statistics(Stream&, Tensor logits, Tensor targets,
                                           const VocabularyShard&, bool for_gradient,
                                           Tensor statistics) = 0;
  virtual void do_cross_entropy_from_statistics(Stream&, Tensor statistics, Tensor targets,
                                                const VocabularyShard&, float gradient_scale,
                                                Tensor logits, Tensor loss, Tensor workspace) = 0;
  virtual void do_add(Stream&, Tensor left, Tensor right, Tensor out) = 0;
  virtual void do_sum_parts(Stream&, Tensor parts, Tensor out) = 0;
  virtual void do_fill(Stream&, Tensor out, float value) = 0;
  virtual void do_cast(Stream&, Tensor in, Tensor out) = 0;
  virtual void do_squared_norms(Stream&, Tensor x, float scale, Tensor sums) = 0;
  virtual void do_adamw(Stream&, const AdamWStep&, Tensor parameter, Tensor gradient, Tensor m,
                        Tensor v, Tensor working) = 0;
  // By do_adamw, unless an implementation knows better.
  virtual void do_adamw_all(Stream&, const AdamWStep& decayed, const AdamWStep& plain,
                            std::span<const AdamWTensors> all);

 private:
  void check_adamw(const AdamWStep& step, const AdamWTensors& tensors) const;
};

class CpuDevice;
// Kernels of f32 or bf16 on the device's thread pool and OpenBLAS, with the kernel set that the
// process has opened it with (blas/blas.h), or the best of this processor. Throws StatusError where
// it cannot be opened.
std::unique_ptr<Kernels> create_cpu_kernels(CpuDevice& device, DType dtype = DType::kF32);

}  // namespace leasehold
