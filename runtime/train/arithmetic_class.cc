#include "runtime/train/arithmetic_class.h"

#include <algorithm>
#include <sstream>

#include "runtime/base/digest.h"
#include "runtime/comm/host_exchange.h"
#include "runtime/tensor/arena.h"

namespace leasehold {

namespace {

constexpr int64_t kMaxRows = 128;
constexpr int64_t kMaxVocab = 512;
constexpr uint64_t kSeed = 20240520;

// Runs operations on drawn inputs in one arena and digests their outputs. With measuring arenas it
// only counts.
class Prober {
 public:
  // `host` is memory of the host; `largest_bytes` what counting told, 0 while it counts.
  Prober(Kernels& kernels, Stream& stream, Arena& arena, Arena& host, int64_t largest_bytes,
         double timeout_s)
      : kernels_(kernels),
        stream_(stream),
        arena_(arena),
        host_(host),
        output_bytes_(host.allocate(DType::kU8, Shape{largest_bytes})),
        timeout_s_(timeout_s) {}

  bool counting() const { return arena_.is_measuring(); }
  Kernels& kernels() { return kernels_; }
  Stream& stream() { return stream_; }

  Tensor empty(const Shape& shape) { return allocate(kernels_.dtype(), shape); }
  // Of gradient_dtype().
  Tensor gradients(const Shape& shape) { return allocate(kernels_.gradient_dtype(), shape); }
  Tensor workspace(int64_t size_bytes) { return allocate(DType::kU8, Shape{size_bytes}); }
  Tensor doubles(int64_t count) { return allocate(DType::kF64, Shape{count}); }

  // Values are drawn as fp32 on the host and converted by the device's own cast.
  Tensor drawn(const Shape& shape, const std::string& name, float scale) {
    return drawn(empty(shape), name, scale);
  }
  Tensor drawn(const Tensor& result, const std::string& name, float scale) {
    const Shape& shape = result.shape();
    const Tensor host = host_.allocate(DType::kF32, shape);
    const Tensor values = allocate(DType::kF32, shape);
    if (counting()) return result;
    const RandomSite site = RandomSite::make(kSeed, name);
    for (int64_t i = 0; i < shape.num_elements(); ++i)
      host.as<float>()[i] = scale * site.normal(static_cast<uint64_t>(i));
    stream_.copy(values.data(), host.data(), host.size_bytes());
    kernels_.cast(stream_, values, result);
    return result;
  }

  Tensor tokens(int64_t rows, int64_t T, int64_t vocab) {
    const Tensor result = allocate(DType::kI32, Shape{rows, T});
    const Tensor host = host_.allocate(DType::kI32, Shape{rows, T});
    const RandomSite site = RandomSite::make(kSeed, "tokens");
    if (counting()) return result;
    for (int64_t i = 0; i < rows * T; ++i) {
      host.as<int32_t>()[i] =
          static_cast<int32_t>(site.word(static_cast<uint64_t>(i)) % static_cast<uint64_t>(vocab));
    }
    stream_.copy(result.data(), host.data(), host.size_bytes());
    return result;
  }

  void digest(const std::string& operation, std::initializer_list<Tensor> outputs) {
    if (counting()) return;
    Digester digester;
    for (const Tensor& output : outputs) {
      if (!output.present()) continue;
      LEASEHOLD_CHECK(output.size_bytes() <= output_bytes_.size_bytes(), "{}: {} bytes of output",
                      operation, output.size_bytes());
      stream_.copy(output_bytes_.data(), output.data(), output.size_bytes());
      throw_if_error(stream_.synchronize(Deadline::after_s(timeout_s_)));
      digester.update(output_bytes_.data(), static_cast<size_t>(output.size_bytes()));
    }
    digests_.push_back({operation, digester.finish().low});
  }

  std::vector<OperationDigest> take() { return std::move(digests_); }
  int64_t largest_bytes() const { return largest_bytes_; }  // of all that was allocated

 private:
  Tensor allocate(DType dtype, const Shape& shape) {
    const Tensor tensor = arena_.allocate(dtype, shape);
    largest_bytes_ = std::max(largest_bytes_, tensor.size_bytes());
    return tensor;
  }

  Kernels& kernels_;
  Stream& stream_;
  Arena& arena_;
  Arena& host_;
  Tensor output_bytes_;  // of one output at a time
  int64_t largest_bytes_ = 0;
  double timeout_s_;
  std::vector<OperationDigest> digests_;
};

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
  const Tensor dqkv = prober.empty(packed);
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
  if (sizes.rotary) {
    kernels.rotary_backward(prober.stream(), shape, *sizes.rotary, dqkv);
    prober.digest("rotary_backward", {dqkv});
  }
}

void probe_loss(Prober& prober, int64_t rows, int64_t V) {
  Kernels& kernels = prober.kernels();
  const Tensor logits = prober.drawn({rows, V}, "loss.logits", 2.0F);
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
  const Tensor logits = prober.drawn({rows, V}, "loss.logits", 2.0F);
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

void probe_all(Prober& prober, const ArithmeticProbe& sizes) {
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
  probe_linear(prober, "head", rows, sizes.hidden, V, Activation::kNone);
  sizes.rms_norm ? probe_rms_norm(prober, rows, sizes.hidden, sizes.norm_eps)
                 : probe_layer_norm(prober, rows, sizes.hidden, sizes.norm_eps);
  probe_attention(prober, sizes);
  sizes.tensor == 1 ? probe_loss(prober, rows, V) : probe_cut_loss(prober, rows, V, sizes.tensor);
  probe_optimizer(prober);
}

}  // namespace

Result<std::vector<OperationDigest>> digest_arithmetic(Device& device, Kernels& kernels,
                                                       const ArithmeticProbe& probe,
                                                       double timeout_s) {
  try {
    LEASEHOLD_ASSIGN_OR_RETURN(auto stream, device.create_stream("probe"));
    Arena measured = Arena::measuring("arithmetic probe");
    Arena measured_host = Arena::measuring("arithmetic probe, host");
    Prober counting(kernels, *stream, measured, measured_host, 0, timeout_s);
    probe_all(counting, probe);
    const int64_t largest_bytes = counting.largest_bytes();
    measured_host.allocate(DType::kU8, Shape{largest_bytes});
    LEASEHOLD_ASSIGN_OR_RETURN(Arena arena,
                               Arena::create(device, measured.name(), measured.peak_bytes()));
    LEASEHOLD_ASSIGN_OR_RETURN(
        Arena host, Arena::create(device, measured_host.name(), measured_host.peak_bytes(),
                                  MemoryKind::kPinned));
    Prober prober(kernels, *stream, arena, host, largest_bytes, timeout_s);
    probe_all(prober, probe);
    return prober.take();
  } catch (const StatusError& caught) {
    return caught.status();
  }
}

std::string to_text(const std::vector<OperationDigest>& digests) {
  std::string text;
  for (const OperationDigest& digest : digests) {
    text += fmt::format("{}{}={:016x}", text.empty() ? "" : " ", digest.operation, digest.digest);
  }
  return text;
}

namespace {

// The first operation of `theirs` that differs, or none.
std::string first_difference(const std::string& mine, const std::string& theirs) {
  std::istringstream my_words(mine), their_words(theirs);
  std::string my_word, their_word;
  while (my_words >> my_word) {
    if (!(their_words >> their_word) || my_word != their_word)
      return my_word.substr(0, my_word.find('='));
  }
  return their_words >> their_word ? their_word.substr(0, their_word.find('=')) : "";
}

}  // namespace

Status compare_arithmetic(const std::vector<OperationDigest>& mine, const std::string& node,
                          Communicator& world, Stream& stream, double timeout_s) {
  LEASEHOLD_ASSIGN_OR_RETURN(
      const auto texts,
      all_gather_bytes(world, stream, node + "\n" + to_text(mine), after_group_timeout(timeout_s)));
  const std::string first = texts[0].substr(texts[0].find('\n') + 1);
  for (size_t rank = 1; rank < texts.size(); ++rank) {
    const size_t end = texts[rank].find('\n');
    const std::string operation = first_difference(first, texts[rank].substr(end + 1));
    if (operation.empty()) continue;
    return error(Code::kBadConfig,
                 "rank {} on node {} computes other bits than rank 0 on node {} in {}: their "
                 "processors or BLAS libraries "
                 "differ; use like nodes, or set run.identity = \"report\" to go on with training "
                 "that depends on the "
                 "layout",
                 rank, texts[rank].substr(0, end), texts[0].substr(0, texts[0].find('\n')),
                 operation);
  }
  return ok_status();
}

Status compare_arithmetic(const std::vector<OperationDigest>& mine, const std::string& kept) {
  const std::string operation = first_difference(to_text(mine), kept);
  if (operation.empty()) return ok_status();
  return error(Code::kBadConfig,
               "this machine computes other bits than the one that wrote the checkpoint in {}: "
               "resume on a like machine "
               "and build, or set run.identity = \"report\"",
               operation);
}

}  // namespace leasehold
