#include "tests/support/reference_kernels.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

#include "runtime/device/cpu_stream.h"
#include "tests/support/reference_attention.h"
#include "tests/support/reference_cross_entropy.h"
#include "tests/support/reference_llama.h"

namespace leasehold {

namespace {

double* f64(Tensor tensor) { return tensor.present() ? tensor.as<double>() : nullptr; }

double gelu(double x) {
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
}

double gelu_derivative(double x) {
  const double tanh = std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x));
  const double inner_derivative = std::sqrt(2 / std::numbers::pi) * (1 + 3 * 0.044715 * x * x);
  return 0.5 * (1 + tanh) + 0.5 * x * (1 - tanh * tanh) * inner_derivative;
}

void put(double* at, double value, Write write) {
  *at = write == Write::kAccumulate ? *at + value : value;
}

// Returns the factor by which dropout multiplies element i.
double dropout_factor(const Dropout& dropout, int64_t i) {
  if (dropout.p == 0) return 1;
  const bool dropped =
      dropout.site.uniform(static_cast<uint64_t>(dropout.first_element + i)) < dropout.p;
  return dropped ? 0 : 1 / (1 - static_cast<double>(dropout.p));
}

double load(const void* data, DType dtype, int64_t i) {
  switch (dtype) {
    case DType::kF32:
      return static_cast<const float*>(data)[i];
    case DType::kF64:
      return static_cast<const double*>(data)[i];
    case DType::kBf16:
      return std::bit_cast<float>(uint32_t{static_cast<const uint16_t*>(data)[i]} << 16);
    default:
      LEASEHOLD_CHECK(false, "cast from {}", dtype_name(dtype));
  }
}

// Returns the nearest bf16, ties to even. Tries the candidates, so that it shares no bit tricks
// with other code.
uint16_t nearest_bf16(double value) {
  const auto truncated =
      static_cast<uint16_t>(std::bit_cast<uint32_t>(static_cast<float>(value)) >> 16);
  if (std::isnan(value)) return truncated | 0x40;
  if (std::isinf(value)) return truncated;
  // Infinity stands for the power of two that follows the largest finite value.
  const auto distance = [value](uint16_t bits) {
    const double there = std::bit_cast<float>(uint32_t{bits} << 16);
    return std::abs((std::isinf(there) ? std::copysign(0x1p128, there) : there) - value);
  };
  uint16_t best = truncated;
  for (const int step : {-1, 1}) {
    const auto candidate = static_cast<uint16_t>(truncated + step);
    if ((candidate ^ truncated) & 0x8000) continue;  // on the other side of zero
    const double difference = distance(candidate) - distance(best);
    if (difference < 0 || (difference == 0 && candidate % 2 == 0)) best = candidate;
  }
  return best;
}

void store(void* data, DType dtype, int64_t i, double value) {
  switch (dtype) {
    case DType::kF32:
      static_cast<float*>(data)[i] = static_cast<float>(value);
      return;
    case DType::kF64:
      static_cast<double*>(data)[i] = value;
      return;
    case DType::kBf16:
      static_cast<uint16_t*>(data)[i] = nearest_bf16(value);
      return;
    default:
      LEASEHOLD_CHECK(false, "cast to {}", dtype_name(dtype));
  }
}

// One head of one sequence: its query, key and value rows inside packed qkv, and its probabilities.
class Head {
 public:
  Head(const AttentionShape& shape, int64_t b, int64_t h) : shape_(shape), b_(b), h_(h) {}

  int64_t query(int64_t t) const { return at(t, h_ % shape_.R); }
  int64_t key(int64_t t) const { return at(t, shape_.R); }
  int64_t value(int64_t t) const { return at(t, shape_.R + 1); }
  int64_t out(int64_t t) const { return ((b_ * shape_.T + t) * shape_.H() + h_) * shape_.D; }
  int64_t log_sum_exp(int64_t t) const { return (b_ * shape_.H() + h_) * shape_.T + t; }
  int64_t probability(int64_t query, int64_t key) const {  // among the probabilities of all heads
    const int64_t all_heads = shape_.all_heads == 0 ? shape_.H() : shape_.all_heads;
    return ((b_ * all_heads + shape_.first_head + h_) * shape_.T + query) * shape_.T + key;
  }

  // Computes probabilities (T, T), zero above the diagonal, and log_sum_exp (T).
  void softmax(const double* qkv, std::vector<double>& probabilities,
               std::vector<double>& log_sum_exps) const {
    const int64_t T = shape_.T;
    probabilities.assign(static_cast<size_t>(T * T), 0);
    log_sum_exps.assign(static_cast<size_t>(T), 0);
    for (int64_t i = 0; i < T; ++i) {
      double* row = probabilities.data() + i * T;
      double largest = -std::numeric_limits<double>::infinity();
      for (int64_t j = 0; j <= i; ++j) {
        for (int64_t d = 0; d < shape_.D; ++d) row[j] += qkv[query(i) + d] * qkv[key(j) + d];
        row[j] /= std::sqrt(static_cast<double>(shape_.D));
        largest = std::max(largest, row[j]);
      }
      double sum = 0;
      for (int64_t j = 0; j <= i; ++j) sum += std::exp(row[j] - largest);
      log_sum_exps[static_cast<size_t>(i)] = largest + std::log(sum);
      for (int64_t j = 0; j <= i; ++j) row[j] = std::exp(row[j] - largest) / sum;
    }
  }

 private:
  int64_t at(int64_t t, int64_t slot) const {
    return (((b_ * shape_.T + t) * shape_.G + h_ / shape_.R) * (shape_.R + 2) + slot) * shape_.D;
  }

  AttentionShape shape_;
  int64_t b_;
  int64_t h_;
};

class ReferenceKernels : public Kernels {
 public:
  DType dtype() const override { return DType::kF64; }
  const char* name() const override { return "reference"; }
  std::string arithmetic_class() const override { return "reference: double, plain loops"; }
  int64_t layer_norm_backward_workspace_bytes(int64_t, int64_t) const override { return 0; }
  int64_t rms_norm_backward_workspace_bytes(int64_t, int64_t) const override { return 0; }
  int64_t embedding_backward_workspace_bytes(int64_t, int64_t, int64_t) const override { return 0; }
  int64_t attention_workspace_bytes(const AttentionShape&) const override { return 0; }
  bool has_cached_attention() const override { return true; }
  int64_t attention_cached_workspace_bytes(const AttentionShape&, int64_t) const override {
    return 0;
  }
  int64_t cross_entropy_workspace_bytes(int64_t, int64_t) const override { return 0; }

 protected:
  void do_linear_forward(Stream& stream, Tensor x_, Tensor weight_, Tensor bias_,
                         Activation activation, Tensor pre_, Tensor y_) override {
    const int64_t N = x_.dim(0), K = x_.dim(1), O = y_.dim(1), stride = y_.row_stride();
    CpuStream::from(stream).enqueue(
        [=, x = f64(x_), weight = f64(weight_), bias = f64(bias_), pre = f64(pre_), y = f64(y_)] {
          for (int64_t n = 0; n < N; ++n) {
            for (int64_t o = 0; o < O; ++o) {
              double sum = bias ? bias[o] : 0;
              for (int64_t k = 0; k < K; ++k) sum += x[n * K + k] * weight[o * K + k];
              if (pre) pre[n * O + o] = sum;
              y[n * stride + o] = activation == Activation::kGelu ? gelu(sum) : sum;
            }
          }
        });
  }

  void do_linear_backward_input(Stream& stream, Tensor dy_, Tensor weight_, Activation activation,
                                Tensor pre_, Tensor dx_, Write write) override {
    const int64_t N = dx_.dim(0), K = dx_.dim(1), O = dy_.dim(1), stride = dy_.row_stride();
    CpuStream::from(stream).enqueue(
        [=, dy = f64(dy_), weight = f64(weight_), pre = f64(pre_), dx = f64(dx_)] {
          for (int64_t n = 0; n < N; ++n) {
            for (int64_t k = 0; k < K; ++k) {
              double sum = 0;
              for (int64_t o = 0; o < O; ++o) sum += dy[n * stride + o] * weight[o * K + k];
              if (activation == Activation::kGelu) sum *= gelu_derivative(pre[n * K + k]);
              put(&dx[n * K + k], sum, write);
            }
          }
        });
  }

  void do_linear_backward_weight(Stream& stream, Tensor dy_, Tensor x_, Tensor dweight_,
                                 Tensor dbias_, Write write) override {
    const int64_t N = x_.dim(0), K = x_.dim(1), O = dy_.dim(1), stride = dy_.row_stride();
    CpuStream::from(stream).enqueue(
        [=, dy = f64(dy_), x = f64(x_), dweight = f64(dweight_), dbias = f64(dbias_)] {
          for (int64_t o = 0; o < O; ++o) {
            for (int64_t k = 0; k < K; ++k) {
              double sum = 0;
              for (int64_t n = 0; n < N; ++n) sum += dy[n * stride + o] * x[n * K + k];
              put(&dweight[o * K + k], sum, write);
            }
            if (dbias == nullptr) continue;
            double sum = 0;
            for (int64_t n = 0; n < N; ++n) sum += dy[n * stride + o];
            put(&dbias[o], sum, write);
          }
        });
  }

  void do_layer_norm_forward(Stream& stream, Tensor x_, Tensor delta_, const Dropout& dropout,
                             Tensor sum_, Tensor weight_, Tensor bias_, double eps, Tensor y_,
                             Tensor mean_, Tensor rstd_) override {
    const int64_t N = x_.dim(0), C = x_.dim(1);
    CpuStream::from(stream).enqueue([=, x = f64(x_), delta = f64(delta_), sum = f64(sum_),
                                     weight = f64(weight_), bias = f64(bias_), y = f64(y_),
                                     mean = f64(mean_), rstd = f64(rstd_)] {
      std::vector<double> row(static_cast<size_t>(C));
      for (int64_t n = 0; n < N; ++n) {
        double mu = 0;
        for (int64_t c = 0; c < C; ++c) {
          const int64_t i = n * C + c;
          const double value = delta ? x[i] + dropout_factor(dropout, i) * delta[i] : x[i];
          if (sum) sum[i] = value;
          row[static_cast<size_t>(c)] = value;
          mu += value / static_cast<double>(C);
        }
        double variance = 0;
        for (const double value : row)
          variance += (value - mu) * (value - mu) / static_cast<double>(C);
        mean[n] = mu;
        rstd[n] = 1 / std::sqrt(variance + eps);
        for (int64_t c = 0; c < C; ++c) {
          y[n * C + c] = (row[static_cast<size_t>(c)] - mu) * rstd[n] * weight[c] + bias[c];
        }
      }
    });
  }

  void do_layer_norm_backward(Stream& stream, Tensor dy_, Tensor input_, Tensor weight_,
                              Tensor mean_, Tensor rstd_, Tensor dresidual_, Tensor dx_,
                              Tensor dweight_, Tensor dbias_, Write write, Tensor) override {
    const int64_t N = dy_.dim(0), C = dy_.dim(1);
    CpuStream::from(stream).enqueue([=, dy = f64(dy_), input = f64(input_), weight = f64(weight_),
                                     mean = f64(mean_), rstd = f64(rstd_),
                                     dresidual = f64(dresidual_), dx = f64(dx_),
                                     dweight = f64(dweight_), dbias = f64(dbias_)] {
      const auto normalised = [&](int64_t n, int64_t c) {
        return (input[n * C + c] - mean[n]) * rstd[n];
      };
      for (int64_t c = 0; c < C; ++c) {
        double weight_sum = 0, bias_sum = 0;
        for (int64_t n = 0; n < N; ++n) {
          weight_sum += dy[n * C + c] * normalised(n, c);
          bias_sum += dy[n * C + c];
        }
        put(&dweight[c], weight_sum, write);
        put(&dbias[c], bias_sum, write);
      }
      // With g = dy weight and z the normalised input: dx = rstd (g - mean(g) - z mean(g z)).
      for (int64_t n = 0; n < N; ++n) {
        double g_mean = 0, gz_mean = 0;
        for (int64_t c = 0; c < C; ++c) {
          const double g = dy[n * C + c] * weight[c];
          g_mean += g / static_cast<double>(C);
          gz_mean += g * normalised(n, c) / static_cast<double>(C);
        }
        for (int64_t c = 0; c < C; ++c) {
          const double g = dy[n * C + c] * weight[c];
          const double through = rstd[n] * (g - g_mean - normalised(n, c) * gz_mean);
          dx[n * C + c] = (dresidual ? dresidual[n * C + c] : 0) + through;
        }
      }
    });
  }

  void do_rms_norm_forward(Stream& stream, Tensor x_, Tensor delta_, const Dropout& dropout,
                           Tensor sum_, Tensor weight_, double eps, Tensor y_,
                           Tensor rstd_) override {
    const int64_t N = x_.dim(0), C = x_.dim(1);
    CpuStream::from(stream).enqueue([=, x = f64(x_), delta = f64(delta_), sum = f64(sum_),
                                     weight = f64(weight_), y = f64(y_), rstd = f64(rstd_)] {
      std::vector<double> row(static_cast<size_t>(C));
      for (int64_t n = 0; n < N; ++n) {
        double squares = 0;
        for (int64_t c = 0; c < C; ++c) {
          const int64_t i = n * C + c;
          const double value = delta ? x[i] + dropout_factor(dropout, i) * delta[i] : x[i];
          if (sum) sum[i] = value;
          row[static_cast<size_t>(c)] = value;
          squares += value * value;
        }
        rstd[n] = 1 / std::sqrt(squares / static_cast<double>(C) + eps);
        for (int64_t c = 0; c < C; ++c)
          y[n * C + c] = row[static_cast<size_t>(c)] * rstd[n] * weight[c];
      }
    });
  }

  // y_c = x_c rstd weight_c, and drstd/dx_c = -rstd^3 x_c / C.
  void do_rms_norm_backward(Stream& stream, Tensor dy_, Tensor input_, Tensor weight_, Tensor rstd_,
                            Tensor dresidual_, Tensor dx_, Tensor dweight_, Write write,
                            Tensor) override {
    const int64_t N = dy_.dim(0), C = dy_.dim(1);
    CpuStream::from(stream).enqueue([=, dy = f64(dy_), input = f64(input_), weight = f64(weight_),
                                     rstd = f64(rstd_), dresidual = f64(dresidual_), dx = f64(dx_),
                                     dweight = f64(dweight_)] {
      for (int64_t c = 0; c < C; ++c) {
        double sum = 0;
        for (int64_t n = 0; n < N; ++n) sum += dy[n * C + c] * input[n * C + c] * rstd[n];
        put(&dweight[c], sum, write);
      }
      for (int64_t n = 0; n < N; ++n) {
        double drstd = 0;
        for (int64_t c = 0; c < C; ++c) drstd += dy[n * C + c] * input[n * C + c] * weight[c];
        const double cube = rstd[n] * rstd[n] * rstd[n] / static_cast<double>(C);
        for (int64_t c = 0; c < C; ++c) {
          const int64_t i = n * C + c;
          const double through = dy[i] * weight[c] * rstd[n] - drstd * cube * input[i];
          dx[i] = (dresidual ? dresidual[i] : 0) + through;
        }
      }
    });
  }

  void do_swiglu_forward(Stream& stream, Tensor gate_up, Tensor y) override {
    CpuStream::from(stream).enqueue([N = y.dim(0), F = y.dim(1), gate_up = f64(gate_up),
                                     y = f64(y)] { reference_swiglu_forward(N, F, gate_up, y); });
  }
  void do_swiglu_backward(Stream& stream, Tensor dy, Tensor gate_up, Tensor dgate_up) override {
    CpuStream::from(stream).enqueue(
        [N = dy.dim(0), F = dy.dim(1), dy = f64(dy), gate_up = f64(gate_up),
         dgate_up = f64(dgate_up)] { reference_swiglu_backward(N, F, dy, gate_up, dgate_up); });
  }

  void do_residual_add(Stream& stream, Tensor x_, Tensor delta_, const Dropout& dropout,
                       Tensor out_) override {
    const int64_t count = out_.num_elements();
    CpuStream::from(stream).enqueue([=, x = f64(x_), delta = f64(delta_), out = f64(out_)] {
      for (int64_t i = 0; i < count; ++i) {
        out[i] = (x ? x[i] : 0) + dropout_factor(dropout, i) * delta[i];
      }
    });
  }

  void do_embedding_forward(Stream& stream, Tensor tokens_, Tensor token_weight_,
                            Tensor position_weight_, const Dropout& dropout, Tensor out_,
                            const VocabularyShard& shard) override {
    const int64_t N = out_.dim(0), C = out_.dim(1), T = tokens_.dim(1), V = token_weight_.dim(0);
    CpuStream::from(stream).enqueue([=, tokens = tokens_.as<int32_t>(),
                                     token_weight = f64(token_weight_),
                                     position_weight = f64(position_weight_), out = f64(out_)] {
      for (int64_t n = 0; n < N; ++n) {
        for (int64_t c = 0; c < C; ++c) {
          const double position = position_weight ? position_weight[n % T * C + c] : 0;
          const int64_t row = tokens[n] - shard.index * V;
          const double token = row >= 0 && row < V ? token_weight[row * C + c] : 0;
          const double value = token + position;
          out[n * C + c] = dropout_factor(dropout, n * C + c) * value;
        }
      }
    });
  }

  void do_embedding_backward(Stream& stream, Tensor tokens_, Tensor dout_, const Dropout& dropout,
                             Tensor dtoken_weight_, Tensor dposition_weight_, Write write, Tensor,
                             const VocabularyShard& shard) override {
    const int64_t N = dout_.dim(0), C = dout_.dim(1), T = tokens_.dim(1), V = dtoken_weight_.dim(0);
    const int64_t token_elements = dtoken_weight_.num_elements();
    const int64_t position_elements = dposition_weight_.num_elements();
    CpuStream::from(stream).enqueue([=, tokens = tokens_.as<int32_t>(), dout = f64(dout_),
                                     dtoken_weight = f64(dtoken_weight_),
                                     dposition_weight = f64(dposition_weight_)] {
      std::vector<double> token_sums(static_cast<size_t>(token_elements));
      std::vector<double> position_sums(static_cast<size_t>(position_elements));
      for (int64_t n = 0; n < N; ++n) {
        for (int64_t c = 0; c < C; ++c) {
          const double gradient = dropout_factor(dropout, n * C + c) * dout[n * C + c];
          const int64_t row = tokens[n] - shard.index * V;
          if (row >= 0 && row < V) token_sums[static_cast<size_t>(row * C + c)] += gradient;
          if (dposition_weight) position_sums[static_cast<size_t>(n % T * C + c)] += gradient;
        }
      }
      for (int64_t i = 0; i < token_elements; ++i) {
        put(&dtoken_weight[i], token_sums[static_cast<size_t>(i)], write);
      }
      for (int64_t i = 0; i < position_elements; ++i) {
        put(&dposition_weight[i], position_sums[static_cast<size_t>(i)], write);
      }
    });
  }

  void do_rotary(Stream& stream, const AttentionShape& shape, const Rotary& rotary, Tensor qkv,
                 bool backward) override {
    CpuStream::from(stream).enqueue(
        [=, qkv = f64(qkv)] { reference_rotary(shape, rotary, qkv, backward); });
  }

  void do_attention_forward(Stream& stream, const AttentionShape& shape, Tensor qkv_,
                            const Dropout& dropout, Tensor out_, Tensor log_sum_exp_,
                            Tensor) override {
    CpuStream::from(stream).enqueue(
        [=, qkv = f64(qkv_), out = f64(out_), log_sum_exp = f64(log_sum_exp_)] {
          std::vector<double> probabilities, log_sum_exps;
          for (int64_t b = 0; b < shape.B; ++b) {
            for (int64_t h = 0; h < shape.H(); ++h) {
              const Head head(shape, b, h);
              head.softmax(qkv, probabilities, log_sum_exps);
              for (int64_t i = 0; i < shape.T; ++i) {
                log_sum_exp[head.log_sum_exp(i)] = log_sum_exps[static_cast<size_t>(i)];
                for (int64_t d = 0; d < shape.D; ++d) {
                  double sum = 0;
                  for (int64_t j = 0; j <= i; ++j) {
                    sum += probabilities[static_cast<size_t>(i * shape.T + j)] *
                           dropout_factor(dropout, head.probability(i, j)) * qkv[head.value(j) + d];
                  }
                  out[head.out(i) + d] = sum;
                }
              }
            }
          }
        });
  }

  void do_attention_cached(Stream& stream, const AttentionShape& shape, Tensor qkv_, Tensor kv_,
                           Tensor out_, Tensor) override {
    const int64_t S = kv_.dim(1);
    CpuStream::from(stream).enqueue([=, qkv = f64(qkv_), kv = f64(kv_), out = f64(out_)] {
      reference_attention_cached(shape, S, qkv, kv, out);
    });
  }

  void do_attention_backward(Stream& stream, const AttentionShape& shape, Tensor dout_, Tensor qkv_,
                             Tensor, Tensor, const Dropout& dropout, Tensor dqkv_,
                             Tensor) override {
    const int64_t count = dqkv_.num_elements();
    CpuStream::from(stream).enqueue([=, dout = f64(dout_), qkv = f64(qkv_), dqkv = f64(dqkv_)] {
      for (int64_t i = 0; i < count; ++i) dqkv[i] = 0;
      for (int64_t b = 0; b < shape.B; ++b) {
        for (int64_t h = 0; h < shape.H(); ++h) {
          backward_of_head(shape, Head(shape, b, h), dropout, dout, qkv, dqkv);
        }
      }
    });
  }

  void do_cross_entropy(Stream& stream, Tensor logits_, Tensor targets_, float gradient_scale,
                        Tensor loss_, Tensor) override {
    const int64_t N = logits_.dim(0), V = logits_.dim(1), stride = logits_.row_stride();
    CpuStream::from(stream).enqueue(
        [=, logits = f64(logits_), targets = targets_.as<int32_t>(), loss = f64(loss_)] {
          *loss = reference::cross_entropy(N, V, stride, logits, targets, gradient_scale);
        });
  }

  void do_cross_entropy_statistics(Stream& stream, Tensor logits_, Tensor targets_,
                                   const VocabularyShard& shard, bool for_gradient,
                                   Tensor statistics_) override {
    const int64_t N = logits_.dim(0), V = logits_.dim(1), stride = logits_.row_stride();
    CpuStream::from(stream).enqueue([=, logits = f64(logits_), targets = targets_.as<int32_t>(),
                                     statistics = f64(statistics_)] {
      reference::cross_entropy_statistics(N, V, stride, logits, targets, shard, for_gradient,
                                          statistics);
    });
  }

  void do_cross_entropy_from_statistics(Stream& stream, Tensor statistics_, Tensor targets_,
                                        const VocabularyShard& shard, float gradient_scale,
                                        Tensor logits_, Tensor loss_, Tensor) override {
    const int64_t N = statistics_.dim(1), V = logits_.present() ? logits_.dim(1) : 0;
    const int64_t stride = logits_.present() ? logits_.row_stride() : 0;
    CpuStream::from(stream).enqueue([=, statistics = f64(statistics_),
                                     targets = targets_.as<int32_t>(), logits = f64(logits_),
                                     loss = f64(loss_)] {
      *loss = reference::cross_entropy_from_statistics(N, V, stride, statistics, targets, shard,
                                                       gradient_scale, logits);
    });
  }

  void do_add(Stream& stream, Tensor left_, Tensor right_, Tensor out_) override {
    const int64_t count = out_.num_elements();
    CpuStream::from(stream).enqueue([=, left = f64(left_), right = f64(right_), out = f64(out_)] {
      for (int64_t i = 0; i < count; ++i) out[i] = left[i] + right[i];
    });
  }

  void do_sum_parts(Stream& stream, Tensor parts_, Tensor out_) override {
    const int64_t num_parts = parts_.dim(0), count = out_.num_elements();
    CpuStream::from(stream).enqueue([=, parts = f64(parts_), out = f64(out_)] {
      for (int64_t i = 0; i < count; ++i) {
        out[i] = 0;
        for (int64_t part = 0; part < num_parts; ++part) out[i] += parts[part * count + i];
      }
    });
  }

  void do_fill(Stream& stream, Tensor out_, float value) override {
    const int64_t count = out_.num_elements();
    CpuStream::from(stream).enqueue([=, out = f64(out_)] {
      for (int64_t i = 0; i < count; ++i) out[i] = value;
    });
  }

  void do_cast(Stream& stream, Tensor in_, Tensor out_) override {
    const int64_t count = out_.num_elements();
    CpuStream::from(stream).enqueue(
        [=, in = in_.data(), in_dtype = in_.dtype(), out = out_.data(), out_dtype = out_.dtype()] {
          for (int64_t i = 0; i < count; ++i) store(out, out_dtype, i, load(in, in_dtype, i));
        });
  }

  void do_squared_norms(Stream& stream, Tensor x_, float scale, Tensor sums_) override {
    const int64_t count = x_.num_elements();
    CpuStream::from(stream).enqueue([=, x = f64(x_), sums = f64(sums_)] {
      for (int64_t begin = 0; begin < count; begin += kChunk) {
        double sum = 0;
        for (int64_t i = begin; i < std::min(begin + kChunk, count); ++i) {
          const double scaled = x[i] * scale;
          sum += scaled * scaled;
        }
        sums[begin / kChunk] = sum;
      }
    });
  }

  void do_adamw(Stream& stream, const AdamWStep& step, Tensor parameter_, Tensor gradient_,
                Tensor m_, Tensor v_, Tensor) override {
    const int64_t count = parameter_.num_elements();
    CpuStream::from(stream).enqueue(
        [=, parameter = f64(parameter_), gradient = f64(gradient_), m = f64(m_), v = f64(v_)] {
          const double lr = step.lr, beta1 = step.beta1, beta2 = step.beta2;
          for (int64_t i = 0; i < count; ++i) {
            const double g = gradient[i] * step.gradient_scale * step.clip_scale;
            m[i] = beta1 * m[i] + (1 - beta1) * g;
            v[i] = beta2 * v[i] + (1 - beta2) * g * g;
            parameter[i] -= lr * step.weight_decay * parameter[i];
            parameter[i] -=
                lr * (m[i] / step.correction1) / (std::sqrt(v[i] / step.correction2) + step.eps);
          }
        });
  }

 private:
  // Adds one head's part. With P the softmax of the scores S, F dropout's factors and out = (P F)
  // v: dv = (P F)^T dout; dP = (dout v^T) F; dS = P (dP - sum_j P dP); dq = dS k / sqrt(D);
  // dk = dS^T q / sqrt(D).
  static void backward_of_head(const AttentionShape& shape, const Head& head,
                               const Dropout& dropout, const double* dout, const double* qkv,
                               double* dqkv) {
    const int64_t T = shape.T, D = shape.D;
    std::vector<double> probabilities, log_sum_exps, dscores(static_cast<size_t>(T));
    head.softmax(qkv, probabilities, log_sum_exps);
    for (int64_t i = 0; i < T; ++i) {
      const double* row = probabilities.data() + i * T;
      double weighted = 0;
      for (int64_t j = 0; j <= i; ++j) {
        const double factor = dropout_factor(dropout, head.probability(i, j));
        double dprobability = 0;
        for (int64_t d = 0; d < D; ++d) {
          dqkv[head.value(j) + d] += row[j] * factor * dout[head.out(i) + d];
          dprobability += factor * dout[head.out(i) + d] * qkv[head.value(j) + d];
        }
        dscores[static_cast<size_t>(j)] = dprobability;
        weighted += row[j] * dprobability;
      }
      for (int64_t j = 0; j <= i; ++j) {
        const double dscore = row[j] * (dscores[static_cast<size_t>(j)] - weighted);
        for (int64_t d = 0; d < D; ++d) {
          const double scale = 1 / std::sqrt(static_cast<double>(D));
          dqkv[head.query(i) + d] += dscore * scale * qkv[head.key(j) + d];
          dqkv[head.key(j) + d] += dscore * scale * qkv[head.query(i) + d];
        }
      }
    }
  }
};

}  // namespace

std::unique_ptr<Kernels> create_reference_kernels() { return std::make_unique<ReferenceKernels>(); }

}  // namespace leasehold
