#include "launch/plan/layer_time.h"

#include "launch/plan/products.h"

namespace leasehold {

namespace {

double as_double(int64_t number) { return static_cast<double>(number); }

// Bytes an activation takes between operations.
double activation_bytes(Precision precision) { return precision == Precision::kFp32 ? 4 : 2; }

double sustained_bytes_s(const Hardware& hardware, const StepMethod& method) {
  return hardware.memory_bytes_s * method.memory_share;
}

// Channels of a rank: attention's queries, and queries with keys and values.
int64_t query_channels(const StepQuestion& question) {
  return question.model.heads * question.model.head_dim / question.tensor;
}
int64_t qkv_channels(const StepQuestion& question) {
  const ModelShape& model = question.model;
  return (model.heads + 2 * model.kv_heads) * model.head_dim / question.tensor;
}

// Speeds of heads of fewer channels than 128, against those of 128 (arXiv:2407.08608, figure 5, and
// arXiv:2307.08691, figure 5): products of the core are as wide as a head.
double head_dim_share(int64_t head_dim, AttentionKernel kernel) {
  if (head_dim >= 128) return 1;
  if (kernel == AttentionKernel::kFlash1) return 0.95;
  return head_dim >= 64 ? 0.8 : 0.5;
}

AttentionSpeed speed_of(AttentionKernel kernel, const Hardware& hardware) {
  const AttentionSpeed older = kernel == AttentionKernel::kFlash1   ? hardware.attention_flash1
                               : kernel == AttentionKernel::kFlash2 ? hardware.attention_flash2
                                                                    : hardware.attention;
  return older.forward > 0 ? older : hardware.attention;
}

ForwardBackward unfused_attention(const StepQuestion& question, const Hardware& hardware,
                                  const StepMethod& method) {
  // Batched products as narrow as a head reach little more than half of a large product's speed.
  constexpr double kBatchedShare = 0.6;
  constexpr double kBackwardPasses = 1.3;
  const double rate = hardware.products[question.precision] * method.product_share * kBatchedShare;
  const double heads = as_double(question.model.heads) / as_double(question.tensor);
  const double scores = as_double(question.tokens()) * as_double(question.model.sequence) * heads;
  const double operations = 2 * scores * as_double(question.model.head_dim);
  const double passes_s = scores * method.score_bytes / sustained_bytes_s(hardware, method);
  return {.forward_s = 2 * operations / rate + passes_s,
          .backward_s = 4 * operations / rate + kBackwardPasses * passes_s};
}

}  // namespace

double ModelShape::layer_weights() const {
  const double attention = 2 * as_double((heads + kv_heads) * head_dim);
  return as_double(hidden) * (attention + as_double(mlp_inputs() + ffn));
}

double ModelShape::table_weights() const { return as_double(hidden) * as_double(vocab); }

ForwardBackward layer_products(const StepQuestion& question, const Hardware& hardware,
                               const StepMethod& method) {
  const ModelShape& model = question.model;
  ForwardBackward sum;
  const auto add = [&](int64_t inputs, int64_t outputs) {
    const LinearTime time =
        linear_s(question.tokens(), inputs, outputs, question.precision, hardware, method);
    sum.forward_s += time.forward_s;
    sum.backward_s += time.backward_s;
  };
  add(model.hidden, qkv_channels(question));
  add(query_channels(question), model.hidden);
  add(model.hidden, model.mlp_inputs() / question.tensor);
  add(model.ffn / question.tensor, model.hidden);
  return sum;
}

double last_product_s(const StepQuestion& question, const Hardware& hardware,
                      const StepMethod& method) {
  return product_s({question.tokens(), question.model.hidden, question.model.ffn / question.tensor},
                   question.precision, hardware, method);
}

ForwardBackward layer_attention(const StepQuestion& question, const Hardware& hardware,
                                const StepMethod& method) {
  const AttentionKernel kernel = question.software.attention;
  if (kernel == AttentionKernel::kUnfused) return unfused_attention(question, hardware, method);
  const AttentionSpeed speed = speed_of(kernel, hardware);
  const double length = as_double(question.model.sequence) / as_double(question.context);
  const double half = hardware.per_thread ? 0 : method.attention_half_s;
  const double share = method.attention_share * head_dim_share(question.model.head_dim, kernel) *
                       length / (length + half);
  const double operations = 2 * as_double(question.tokens()) * as_double(question.model.sequence) *
                            as_double(query_channels(question));
  return {.forward_s = operations / (speed.forward * share),
          .backward_s = 2.5 * operations / (speed.backward * share)};
}

ForwardBackward layer_memory_work(const StepQuestion& question, const Hardware& hardware,
                                  const StepMethod& method) {
  const ModelShape& model = question.model;
  const double element = activation_bytes(question.precision);
  const double row = as_double(model.hidden) / as_double(question.tensor);
  const double ffn = as_double(model.ffn) / as_double(question.tensor);
  const double query = as_double(query_channels(question));
  const double rotated =
      2 * as_double((model.heads + model.kv_heads) * model.head_dim) / as_double(question.tensor);
  // Elements read and written for a token: two norms and two residual sums, the activation,
  // rotary positions; backward reads gradients besides.
  double forward = element * (10 * row + (model.gated ? 3 : 2) * ffn + rotated);
  double backward = element * (9 * row + (model.gated ? 5 : 3) * ffn + rotated);
  if (question.precision == Precision::kFp8 || question.precision == Precision::kFp4) {
    constexpr double kConversion = 4;  // read in 2 bytes, written twice in 1; fp4 reads twice
    const double inputs = 2 * row + query + ffn;
    const double outputs = 2 * row + as_double(qkv_channels(question)) +
                           as_double(model.mlp_inputs()) / as_double(question.tensor);
    forward += kConversion * inputs;
    backward += kConversion * outputs;
  }
  const double tokens = as_double(question.tokens());
  const double rate = sustained_bytes_s(hardware, method);
  return {.forward_s = tokens * forward / rate, .backward_s = tokens * backward / rate};
}

ForwardBackward head_time(const StepQuestion& question, const Hardware& hardware,
                          const StepMethod& method) {
  // Logits are kept in fp32 for the loss: written, reduced over, and made into gradients.
  constexpr double kLogitBytes = 24;
  constexpr double kStartS = 2e-5;
  const Precision precision =
      question.precision == Precision::kFp32 ? Precision::kFp32 : Precision::kBf16;
  const int64_t vocab = question.model.vocab / question.tensor;
  const LinearTime time =
      linear_s(question.tokens(), question.model.hidden, vocab, precision, hardware, method);
  const double passes_s = as_double(question.tokens()) * as_double(vocab) * kLogitBytes /
                              sustained_bytes_s(hardware, method) +
                          kStartS;
  return {.forward_s = time.forward_s + passes_s / 2, .backward_s = time.backward_s + passes_s / 2};
}

double embedding_s(const StepQuestion& question, const Hardware& hardware,
                   const StepMethod& method) {
  constexpr double kBytes = 8;  // a row read and written in bf16, its gradient as well
  return as_double(question.tokens()) * as_double(question.model.hidden) * kBytes /
         as_double(question.tensor) / sustained_bytes_s(hardware, method);
}

}  // namespace leasehold
