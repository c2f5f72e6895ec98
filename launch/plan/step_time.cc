#include "launch/plan/step_time.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <numeric>

#include "launch/plan/collective_time.h"
#include "launch/plan/layer_time.h"
#include "launch/plan/pipeline_time.h"
#include "launch/plan/recompute_share.h"

namespace leasehold {

namespace {

double as_double(int64_t number) { return static_cast<double>(number); }

// One layer, one microbatch, one rank.
struct Layer {
  ForwardBackward products;
  ForwardBackward attention;
  ForwardBackward memory;
  double recompute_s = 0;
  double tensor_s = 0;
  double context_s = 0;
  double weights_s = 0;

  double forward_s() const { return products.forward_s + attention.forward_s + memory.forward_s; }
  double backward_s() const {
    return products.backward_s + attention.backward_s + memory.backward_s;
  }
  double exchanges_s() const { return tensor_s + context_s + weights_s; }
  double total_s() const { return forward_s() + backward_s() + recompute_s + exchanges_s(); }
};

double exchanged_bytes(const StepQuestion& question) {
  return question.precision == Precision::kFp32 ? 4 : 2;
}

// Each exchange gathers or scatters the rows of a microbatch over the tensor axis.
double tensor_s(const StepQuestion& question, const Hardware& hardware, const StepMethod& method) {
  if (question.tensor == 1) return 0;
  const double bytes =
      as_double(question.tokens()) * as_double(question.model.hidden) * exchanged_bytes(question);
  const double one_s = ring_s({.size = question.tensor}, bytes, hardware, method);
  const int again = question.recomputing == Recomputing::kLayers ? 4 : 0;
  const double exposed = question.software.overlaps_tensor ? method.tensor_exposed : 1;
  return exposed * (question.software.tensor_exchanges + again) * one_s;
}

// Keys and values pass the ring while attention computes with those that are there; backward twice.
double context_s(const StepQuestion& question, const Layer& layer, const Hardware& hardware,
                 const StepMethod& method) {
  if (question.context == 1) return 0;
  const ModelShape& model = question.model;
  const double bytes = 2 * exchanged_bytes(question) * as_double(question.tokens()) *
                       as_double(model.kv_heads * model.head_dim) / as_double(question.tensor) *
                       as_double(question.context);
  const double ring =
      ring_s({.size = question.context, .stride = question.tensor}, bytes, hardware, method);
  return std::max(0.0, ring - layer.attention.forward_s) +
         std::max(0.0, 2 * ring - layer.attention.backward_s) + method.context_exposed * 3 * ring;
}

// Sharded weights are gathered for forward and for backward, and gradients scattered, for every
// microbatch.
double weights_s(const StepQuestion& question, const Layer& layer, const Hardware& hardware,
                 const StepMethod& method) {
  if (question.sharding != Sharding::kWeights) return 0;
  const double bytes =
      question.model.layer_weights() / as_double(question.tensor) * exchanged_bytes(question);
  const RankGroup group{.size = question.weight_shards(), .stride = question.tensor};
  const double gather = ring_s(group, bytes, hardware, method);
  const double sent = question.software.gradient_bytes / exchanged_bytes(question);
  const double scatter = sent > 1 ? ring_s(group, bytes * sent, hardware, method) : gather;
  const double all = 2 * gather + scatter;
  if (!question.software.overlaps) return all;
  const double hidden = std::min(all, layer.forward_s() + layer.backward_s() + layer.recompute_s +
                                          layer.tensor_s + layer.context_s);
  return std::max(0.0, gather - layer.forward_s()) +
         std::max(0.0, gather + scatter - layer.backward_s() - layer.recompute_s) +
         method.sharded_exposed * hidden;
}

double recompute_s(const StepQuestion& question, const Layer& layer, double share,
                   const Hardware& hardware, const StepMethod& method) {
  switch (question.recomputing) {
    case Recomputing::kNothing:
      return 0;
    case Recomputing::kAttention:
      return layer.attention.forward_s;
    case Recomputing::kHalf:
      return layer.forward_s() / 2;
    case Recomputing::kUnknown:
    case Recomputing::kLayers:
      break;
  }
  const double left_out =
      question.software.recomputes_last_product ? 0 : last_product_s(question, hardware, method);
  return share * (layer.forward_s() - left_out);
}

Layer make_layer(const StepQuestion& question, double share, const Hardware& hardware,
                 const StepMethod& method) {
  Layer layer{.products = layer_products(question, hardware, method),
              .attention = layer_attention(question, hardware, method),
              .memory = layer_memory_work(question, hardware, method)};
  if (!hardware.per_thread) {
    layer.memory.forward_s += method.launch_s;
    layer.memory.backward_s += 1.5 * method.launch_s;
  }
  layer.recompute_s = recompute_s(question, layer, share, hardware, method);
  layer.tensor_s = tensor_s(question, hardware, method);
  layer.context_s = context_s(question, layer, hardware, method);
  layer.weights_s = weights_s(question, layer, hardware, method);
  return layer;
}

// Layers of each part of a pipeline. Where they do not divide, embedding and head may stand for a
// layer each (Llama 3: 126 layers and two over 128 parts); otherwise parts have a broken number.
std::vector<double> layers_of_parts(int64_t layers, int64_t num_parts) {
  const bool with_ends = layers % num_parts != 0 && (layers + 2) % num_parts == 0 && num_parts > 1;
  std::vector<double> parts(static_cast<size_t>(num_parts),
                            as_double(with_ends ? layers + 2 : layers) / as_double(num_parts));
  if (with_ends) {
    parts.front() -= 1;
    parts.back() -= 1;
  }
  return parts;
}

// Seconds of all microbatches, from the first forward to the last backward.
double microbatches_s(const StepQuestion& question, const Layer& layer, const ForwardBackward& head,
                      double embedding, const Hardware& hardware, const StepMethod& method) {
  const int64_t num_parts = question.pipeline * question.chunks;
  const double shared = layer.exchanges_s() / 3;  // a third of the exchanges is forward's
  std::vector<PartTime> parts;
  for (const double layers : layers_of_parts(question.model.layers, num_parts)) {
    parts.push_back({layers * (layer.forward_s() + shared),
                     layers * (layer.backward_s() + layer.recompute_s + 2 * shared)});
  }
  parts.front().forward_s += embedding / 2;
  parts.front().backward_s += embedding / 2;
  parts.back().forward_s += head.forward_s;
  parts.back().backward_s += head.backward_s;
  const double bytes = as_double(question.tokens()) * as_double(question.model.hidden) *
                       exchanged_bytes(question) / as_double(question.tensor);
  const RankGroup stages{.size = question.pipeline,
                         .stride = question.tensor * question.context * question.data};
  const double send = question.pipeline == 1 ? 0 : send_s(stages, bytes, hardware, method);
  const PipelineShape shape{.num_stages = static_cast<int>(question.pipeline),
                            .num_chunks = static_cast<int>(question.chunks),
                            .num_microbatches = question.microbatches};
  const double sends = 2 * as_double(question.chunks) * as_double(question.microbatches);
  const double exposed = question.software.overlaps ? method.pipeline_exposed : 1;
  return pipeline_s(question.schedule, shape, parts, send) + exposed * sends * send;
}

// Weights of a rank: its layers, and the table or the head where it has one.
double rank_weights(const StepQuestion& question) {
  const ModelShape& model = question.model;
  const double tables = model.table_weights() * (question.pipeline == 1 ? 2 : 1);
  return (model.layer_weights() * as_double(model.layers) / as_double(question.pipeline) + tables) /
         as_double(question.tensor);
}

// Gradients are scattered during the last microbatch's backward (ZeRO 2 of some programs: during
// every one), and weights gathered during the next first forward. The rest that the window does not
// hold, and the first layer's share, wait.
double data_s(const StepQuestion& question, const Layer& layer, const Hardware& hardware,
              const StepMethod& method) {
  if (question.replicas() == 1 || question.sharding == Sharding::kWeights) return 0;
  const double layers = as_double(question.model.layers) / as_double(question.pipeline);
  const double weights = rank_weights(question);
  const Software& software = question.software;
  const double sent =
      software.gradient_bytes > 0 ? software.gradient_bytes : exchanged_bytes(question);
  const RankGroup group{.size = question.replicas(), .stride = question.tensor};
  const double scatter = ring_s(group, weights * sent, hardware, method);
  const double gather = ring_s(group, weights * exchanged_bytes(question), hardware, method);
  const bool every =
      software.scatters_every_microbatch && question.sharding == Sharding::kGradients;
  const double scatters = every ? as_double(question.microbatches) : 1;
  double exposed = scatters * scatter + gather;
  if (software.overlaps) {
    const double backward = std::min(scatter, layers * layer.backward_s());
    const double forward = std::min(gather, layers * layer.forward_s());
    exposed += (method.data_exposed - 1) * (scatters * backward + forward);
  }
  return exposed + (scatters * scatter + gather) / layers;
}

// AdamW reads and writes masters and two moments, reads a gradient and writes a weight.
double optimizer_s(const StepQuestion& question, const Hardware& hardware,
                   const StepMethod& method) {
  constexpr double kBytes = 4 * 3 * 2 + 2 + 2;
  double owners = as_double(question.replicas());
  if (question.sharding == Sharding::kNothing) owners = 1;
  if (question.sharding == Sharding::kWeights) owners = as_double(question.weight_shards());
  return rank_weights(question) / owners * kBytes / (hardware.memory_bytes_s * method.memory_share);
}

double share_of_layers(const StepQuestion& question, const Hardware& hardware) {
  if (question.recomputing == Recomputing::kLayers) return 1;
  if (question.recomputing != Recomputing::kUnknown) return 0;
  return recompute_share_that_fits(question, hardware);
}

}  // namespace

double StepTime::total_s() const { return std::accumulate(seconds.begin(), seconds.end(), 0.0); }

StepTime step_time(const StepQuestion& question, const Hardware& hardware,
                   const StepMethod& method) {
  StepTime time;
  time.recompute_share = share_of_layers(question, hardware);
  const Layer layer = make_layer(question, time.recompute_share, hardware, method);
  const ForwardBackward head = head_time(question, hardware, method);
  const double embedding = embedding_s(question, hardware, method);
  const double stages = as_double(question.pipeline);
  const double layers =
      as_double(question.microbatches) * as_double(question.model.layers) / stages;
  time[Term::kProducts] = layers * layer.products.total_s();
  time[Term::kAttention] = layers * layer.attention.total_s();
  time[Term::kMemoryWork] = layers * layer.memory.total_s();
  time[Term::kRecompute] = layers * layer.recompute_s;
  time[Term::kTensor] = layers * layer.tensor_s;
  time[Term::kContext] = layers * layer.context_s;
  time[Term::kWeights] = layers * layer.weights_s;
  time[Term::kHead] = as_double(question.microbatches) * (head.total_s() + embedding) / stages;
  const double busy_s = time.total_s();
  time[Term::kPipeline] =
      microbatches_s(question, layer, head, embedding, hardware, method) - busy_s;
  time[Term::kData] = data_s(question, layer, hardware, method);
  time[Term::kOptimizer] = optimizer_s(question, hardware, method);
  time[Term::kConstant] = hardware.per_thread ? 0 : method.constant_s;
  const double nodes = as_double(question.world()) / 8;
  time[Term::kStragglers] = nodes > 1 ? time.total_s() * method.straggler * std::log2(nodes) : 0;
  return time;
}

std::string missing_figures(const StepQuestion& question, const Hardware& hardware) {
  const std::string_view precision = precision_name(question.precision);
  if (hardware.products[question.precision] <= 0) {
    return fmt::format(
        "{} has no figure for products in {}: write products.{} into its hardware "
        "file, the fastest measured product in TFLOP/s, or choose a precision that "
        "it has",
        hardware.name, precision, precision);
  }
  if (question.precision != Precision::kFp32 && hardware.products[Precision::kBf16] <= 0) {
    return fmt::format(
        "{} has no figure for products in bf16, which head and loss take: write "
        "products.bf16 into its hardware file",
        hardware.name);
  }
  if (question.world() > 1 && hardware.domain_bytes_s <= 0) {
    return fmt::format(
        "{} has no links, and {} ranks need some: write the table [links] into its "
        "hardware file",
        hardware.name, question.world());
  }
  if (question.world() > hardware.domain && hardware.network_bytes_s <= 0) {
    return fmt::format(
        "{} has no network, and {} ranks are more than the {} of a domain: write "
        "links.network_gb_s into its hardware file",
        hardware.name, question.world(), hardware.domain);
  }
  return {};
}

const TermWords& words_of(Term term) {
  static constexpr std::array<TermWords, kNumTerms> kWords = {{
      {"products", "matrix products of the layers", "hardware file: products, sustained at 85%"},
      {"attention", "the attention core", "hardware file: attention, sustained at 90%"},
      {"memory_work", "norms, sums, activations, conversions",
       "hardware file: memory_gb_s, sustained at 65%"},
      {"recompute", "layers computed again for backward", "the terms above"},
      {"tensor", "exchanges over the tensor axis that compute does not hide",
       "hardware file: links"},
      {"context", "keys and values over the context axis", "hardware file: links"},
      {"weights", "sharded weights and their gradients, for every microbatch",
       "hardware file: links"},
      {"head", "embedding, token head and loss, shared over the stages",
       "hardware file: products, memory_gb_s"},
      {"pipeline", "waiting for other stages, and what stages send",
       "the schedule, executed with these times"},
      {"data", "gradients and weights of the data ranks that compute does not hide",
       "hardware file: links"},
      {"optimizer", "AdamW", "hardware file: memory_gb_s"},
      {"constant", "of a step, whatever its size", "the published rows"},
      {"stragglers", "the slowest member of many nodes", "0.3% a doubling, from published curves"},
  }};
  return kWords[static_cast<size_t>(term)];
}

}  // namespace leasehold
