// A model of either family as a Module. Its units are the embedding, the blocks and the head. A
// pipeline stage holds a range of them.
#pragma once

#include <memory>

#include "models/describe.h"
#include "runtime/module/model_source.h"

namespace leasehold {

// Returns the number of units: 0 is the embedding, 1 .. layers are the blocks, layers + 1 is the
// head.
inline int64_t num_units(const ModelConfig& config) { return config.layers + 2; }

// Makes the whole model. It has no input and no output: it reads and writes the microbatch.
// `parameters` holds describe_parameters(config) and must outlive the module. kBadConfig for a
// configuration that complete_model_config refuses or would change. `head_rows` is the number of
// rows whose logits exist at a time; 0 leaves it to models/head_rows.h.
Result<std::unique_ptr<Module>> create_gpt(const ModelConfig& config, ParameterTable& parameters,
                                           int64_t head_rows = 0);

// Makes units [begin, end), at least one; the table needs only their parameters. Without the
// embedding the input is (N, C), and without the head the output is. N counts this rank's rows of
// the residual stream: B * T over the ranks of the tensor axis (models/boundaries.h).
// input_gradient may alias output_gradient if both exist.
Result<std::unique_ptr<Module>> create_gpt_stage(const ModelConfig& config,
                                                 ParameterTable& parameters, int64_t begin,
                                                 int64_t end, int64_t head_rows = 0);

// Returns the model in the form that an engine takes.
ModelSource gpt_source(const ModelConfig& config, int64_t head_rows = 0);

}  // namespace leasehold
