// Kernels that take the time of every operation between two marks on its stream, so that a step's
// time can be told by operation. Results are those of the kernels inside.
#pragma once

#include <string>
#include <tuple>
#include <vector>

#include "bench/stopwatch.h"
#include "runtime/tensor/kernels.h"

namespace leasehold {

// One operation of one shape over the time of a profile.
struct OperationTime {
  std::string name;   // "linear_forward"
  std::string shape;  // of linears "N 4096 K 768 O 2304", else empty
  int64_t calls = 0;
  double seconds = 0;
  double flops = 0;  // 0 where they are not counted
};

struct Profile {
  std::vector<OperationTime> operations;  // longest first
  double operations_s = 0;
  double span_s = 0;  // from the first operation's begin to the last one's end
};

class ProfilingKernels : public Kernels {
 public:
  // Both must outlive it.
  ProfilingKernels(Kernels& inner, Device& device)
      : inner_(inner), stopwatch_(create_stopwatch(device)) {}

  // From here on operations are timed; collect() ends that, once their streams were synchronized.
  void begin();
  Profile collect();

  DType dtype() const override { return inner_.dtype(); }
  const char* name() const override { return inner_.name(); }
  std::string arithmetic_class() const override { return inner_.arithmetic_class(); }
  std::string algorithms() const override { return inner_.algorithms(); }
  Status use_algorithms(const std::string& text) override { return inner_.use_algorithms(text); }
  int64_t num_choices() const override { return inner_.num_choices(); }
  int64_t layer_norm_backward_workspace_bytes(int64_t N, int64_t C) const override {
    return inner_.layer_norm_backward_workspace_bytes(N, C);
  }
  int64_t rms_norm_backward_workspace_bytes(int64_t N, int64_t C) const override {
    return inner_.rms_norm_backward_workspace_bytes(N, C);
  }
  int64_t embedding_backward_workspace_bytes(int64_t N, int64_t V, int64_t C) const override {
    return inner_.embedding_backward_workspace_bytes(N, V, C);
  }
  int64_t attention_workspace_bytes(const AttentionShape& shape) const override {
    return inner_.attention_workspace_bytes(shape);
  }
  int64_t cross_entropy_workspace_bytes(int64_t N, int64_t V) const override {
    return inner_.cross_entropy_workspace_bytes(N, V);
  }

 protected:
  void do_linear_forward(Stream& stream, Tensor x, Tensor weight, Tensor bias, Activation, Tensor,
                         Tensor y) override;
  void do_linear_backward_input(Stream& stream, Tensor dy, Tensor weight, Activation, Tensor pre,
                                Tensor dx, Write write) override;
  void do_linear_backward_weight(Stream& stream, Tensor dy, Tensor x, Tensor dweight, Tensor dbias,
                                 Write write) override;
  void do_layer_norm_forward(Stream& stream, Tensor x, Tensor delta, const Dropout& dropout,
                             Tensor sum, Tensor weight, Tensor bias, double eps, Tensor y,
                             Tensor mean, Tensor rstd) override;
  void do_layer_norm_backward(Stream& stream, Tensor dy, Tensor input, Tensor weight, Tensor mean,
                              Tensor rstd, Tensor dresidual, Tensor dx, Tensor dweight,
                              Tensor dbias, Write write, Tensor workspace) override;
  void do_rms_norm_forward(Stream& stream, Tensor x, Tensor delta, const Dropout& dropout,
                           Tensor sum, Tensor weight, double eps, Tensor y, Tensor rstd) override;
  void do_rms_norm_backward(Stream& stream, Tensor dy, Tensor input, Tensor weight, Tensor rstd,
                            Tensor dresidual, Tensor dx, Tensor dweight, Write write,
                            Tensor workspace) override;
  void do_swiglu_forward(Stream& stream, Tensor gate_up, Tensor y) override;
  void do_swiglu_backward(Stream& stream, Tensor dy, Tensor gate_up, Tensor dgate_up) override;
  void do_residual_add(Stream& stream, Tensor x, Tensor delta, const Dropout& dropout,
                       Tensor out) override;
  void do_embedding_forward(Stream& stream, Tensor tokens, Tensor token_weight,
                            Tensor position_weight, const Dropout& dropout, Tensor out,
                            const VocabularyShard& shard) override;
  void do_embedding_backward(Stream& stream, Tensor tokens, Tensor dout, const Dropout& dropout,
                             Tensor dtoken_weight, Tensor dposition_weight, Write write,
                             Tensor workspace, const VocabularyShard& shard) override;
  void do_rotary(Stream& stream, const AttentionShape& shape, const Rotary& rotary, Tensor qkv,
                 bool backward) override;
  void do_attention_forward(Stream& stream, const AttentionShape& shape, Tensor qkv,
                            const Dropout& dropout, Tensor out, Tensor log_sum_exp,
                            Tensor workspace) override;
  void do_attention_backward(Stream& stream, const AttentionShape& shape, Tensor dout, Tensor qkv,
                             Tensor out, Tensor log_sum_exp, const Dropout& dropout, Tensor dqkv,
                             Tensor workspace) override;
  void do_cross_entropy(Stream& stream, Tensor logits, Tensor targets, float gradient_scale,
                        Tensor loss, Tensor workspace) override;
  void do_cross_entropy_statistics(Stream& stream, Tensor logits, Tensor targets,
                                   const VocabularyShard& shard, bool for_gradient,
                                   Tensor statistics) override;
  void do_cross_entropy_from_statistics(Stream& stream, Tensor statistics, Tensor targets,
                                        const VocabularyShard& shard, float gradient_scale,
                                        Tensor logits, Tensor loss, Tensor workspace) override;
  void do_add(Stream& stream, Tensor left, Tensor right, Tensor out) override;
  void do_sum_parts(Stream& stream, Tensor parts, Tensor out) override;
  void do_fill(Stream& stream, Tensor out, float value) override;
  void do_cast(Stream& stream, Tensor in, Tensor out) override;
  void do_squared_norms(Stream& stream, Tensor x, float scale, Tensor sums) override;
  void do_adamw(Stream& stream, const AdamWStep& step, Tensor parameter, Tensor gradient, Tensor m,
                Tensor v, Tensor working) override;
  void do_adamw_all(Stream& stream, const AdamWStep& decayed, const AdamWStep& plain,
                    std::span<const AdamWTensors> all) override;

 private:
  // Name and a linear's N, K and O, zero elsewhere: what tells operations apart in the profile.
  using Key = std::tuple<std::string, int64_t, int64_t, int64_t>;
  struct Call {
    const char* name = "";
    int64_t N = 0, K = 0, O = 0;
    double flops = 0;
    size_t begin = 0, end = 0;  // marks
  };
  template <typename Operation>
  void timed(Stream& stream, Call call, Operation&& operation);

  Kernels& inner_;
  std::unique_ptr<Stopwatch> stopwatch_;
  bool is_on_ = false;
  std::vector<Call> calls_;
};

}  // namespace leasehold
