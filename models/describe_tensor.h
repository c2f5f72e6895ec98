// The requirements of tensor parallelism on a model and a microbatch, and its traffic. Pure: for
// job files, the planner and forecasts. models/boundaries.h explains how it works.
#pragma once

#include <cstdint>
#include <optional>

#include "models/describe.h"
#include "runtime/module/module.h"

namespace leasehold {

// Checks that `tensor` ranks can share the model: the number must divide heads, kv heads, ffn and
// vocabulary. kBadConfig, naming the key that it does not divide and values that would work.
Status check_tensor_degree(const ModelConfig& config, int64_t tensor);

// Checks that they can share a microbatch of B sequences of T positions: the number must divide the
// rows B * T. kBadConfig, with values that would work.
Status check_tensor_rows(int64_t B, int64_t T, int64_t tensor);

// Returns the bytes that one rank sends to the others of its tensor group for a microbatch of
// N = B * T rows of the whole model: in forward and backward, or, without `recompute`, in forward
// alone, as in evaluation. With t = tensor, a crossing (a gather or a sum-scatter of the rows)
// sends (t - 1) / t N C elements of `element_bytes`. The crossings are:
//   embedding: 1 forward, 1 backward
//   each block: 4 forward, 6 backward (7 if attention is recomputed, 9 if the block is)
//   head: 1 forward if no backward follows, otherwise none forward and 2 backward
// The statistics of the loss add 24 (t - 1) N bytes, once.
int64_t tensor_bytes_sent(const ModelConfig& config, int64_t N, int64_t tensor,
                          std::optional<Recompute> recompute, int64_t element_bytes = 4);

}  // namespace leasehold
