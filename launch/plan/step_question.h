// Describes a step for the model of its time: sizes, layout and software, without tensors or ranks.
#pragma once

#include <cstdint>
#include <string>

#include "launch/plan/precision.h"
#include "runtime/train/pipeline_schedule.h"

namespace leasehold {

struct ModelShape {
  int64_t layers = 1;
  int64_t hidden = 1;
  int64_t heads = 1;
  int64_t kv_heads = 1;
  int64_t head_dim = 1;
  int64_t ffn = 1;
  int64_t vocab = 1;
  int64_t sequence = 1;
  bool gated = false;  // the mlp has three matrices (SwiGLU), not two

  int64_t mlp_inputs() const { return (gated ? 2 : 1) * ffn; }  // outputs of its first product
  double layer_weights() const;                                 // of the products of a layer
  double table_weights() const;                                 // of a token table or a head
};

// The parts of the state that data ranks share: stages 0 to 3 of ZeRO.
enum class Sharding { kNothing, kOptimizer, kGradients, kWeights };

enum class Recomputing {
  kUnknown,  // not published: as little as fits into memory
  kNothing,
  kAttention,  // the attention core alone
  kHalf,       // every other product of a layer
  kLayers,     // all of a layer
};

enum class AttentionKernel { kUnfused, kFlash1, kFlash2, kFastest };

// The habits of the program that trains. The defaults are those of the programs that published
// rows.
struct Software {
  AttentionKernel attention = AttentionKernel::kFastest;
  bool overlaps = true;         // exchanges run during compute
  bool overlaps_tensor = true;  // also those of the tensor axis
  int tensor_exchanges = 9;     // gathers and scatters of a layer, forward and backward
  // Under ZeRO 2 gradients are scattered for every microbatch, not once a step.
  bool scatters_every_microbatch = false;
  double gradient_bytes = 0;  // of an element that is sent; 0: as weights
  // Recomputing a layer computes its last product too, whose result nobody needs again.
  bool recomputes_last_product = true;
};

struct StepQuestion {
  ModelShape model;
  Precision precision = Precision::kBf16;
  int64_t tensor = 1;
  int64_t context = 1;
  int64_t pipeline = 1;
  int64_t chunks = 1;  // of each stage
  int64_t data = 1;
  PipelineSchedule schedule = PipelineSchedule::kOneForwardOneBackward;
  Sharding sharding = Sharding::kOptimizer;
  int64_t shard_ranks = 0;   // over which weights are sharded; 0: all data and context ranks
  int64_t microbatch = 1;    // sequences
  int64_t microbatches = 1;  // of a data rank in a step
  Recomputing recomputing = Recomputing::kUnknown;
  Software software;

  int64_t world() const { return tensor * context * pipeline * data; }
  int64_t replicas() const { return data * context; }  // ranks with the same weights
  int64_t weight_shards() const { return shard_ranks > 0 ? shard_ranks : replicas(); }
  int64_t tokens() const { return microbatch * model.sequence / context; }  // a rank, a microbatch
};

}  // namespace leasehold
