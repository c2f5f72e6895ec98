// A model of either family as a Module: embedding, blocks, head, which are its units. A pipeline
// stage holds a range of them.
#pragma once

#include <memory>

#include "models/describe.h"
#include "runtime/module/model_source.h"

namespace leasehold {

// Units of a model: 0 is the embedding, 1 .. layers the blocks, layers + 1 the head.
inline int64_t num_units(const ModelConfig& config) { return config.layers + 2; }

// The whole model: no input, no output; reads and writes the microbatch. `parameters` holds
// describe_parameters(config) and must outlive the module. kBadConfig for a configuration that
// complete_model_config refuses or would change.
Result<std::unique_ptr<Module>> create_gpt(const ModelConfig& config, ParameterTable& parameters);

// Units [begin, end), at least one, of whose parameters alone the table needs to know. Without the
// embedding the input is (N, C), without the head the output, N being the rows of the residual
// stream that are here: B * T over the ranks of the tensor axis (models/boundaries.h).
// input_gradient may alias output_gradient where both exist.
Result<std::unique_ptr<Module>> create_gpt_stage(const ModelConfig& config,
                                                 ParameterTable& parameters, int64_t begin,
                                                 int64_t end);

// For an engine.
ModelSource gpt_source(const ModelConfig& config);

}  // namespace leasehold
