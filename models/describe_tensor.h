// What tensor parallelism asks of a model and of a microbatch, and what it costs on the wire: pure,
// for job files, the planner and forecasts. How it works: models/boundaries.h.
#pragma once

#include <cstdint>
#include <optional>

#include "models/describe.h"
#include "runtime/module/module.h"

namespace leasehold {

// Whether `tensor` ranks can share the model: the number must divide heads, kv heads, ffn and
// vocabulary. kBadConfig, naming the key that it does not divide and values that would work.
Status check_tensor_degree(const ModelConfig& config, int64_t tensor);

// Whether they can share a microbatch of B sequences of T positions: the number must divide the
// rows B * T. kBadConfig, with values that would work.
Status check_tensor_rows(int64_t B, int64_t T, int64_t tensor);

// Bytes that one rank sends to the others of its tensor group for a microbatch of N = B * T rows of
// the whole model: in forward and backward, or, without `recompute`, in forward alone as evaluation
// does. With t = tensor and a crossing (a gather or a sum-scatter of the rows) of (t - 1) / t N C
// elements of `element_bytes`, in crossings:
//   embedding: 1 forward, 1 backward
//   each block: 4 forward, 6 backward (7 when attention is recomputed, 9 when the block is)
//   head: 1 forward where no backward follows, else 2 backward and none forward
// and 24 (t - 1) N bytes for the statistics of the loss, once.
int64_t tensor_bytes_sent(const ModelConfig& config, int64_t N, int64_t tensor,
                          std::optional<Recompute> recompute, int64_t element_bytes = 4);

}  // namespace leasehold
