// The parameter tables of the families, one file each, and the functions that build their entries.
#pragma once

#include <string>
#include <vector>

#include "models/describe.h"

namespace leasehold {

// Return a family's parameters. Both require a complete configuration of that family.
std::vector<ParameterSpec> describe_gpt2(const ModelConfig& config);
std::vector<ParameterSpec> describe_llama(const ModelConfig& config);

// Makes a weight that is drawn from a normal distribution and decays.
inline ParameterSpec matrix_spec(const std::string& name, const Shape& shape,
                                 double standard_deviation) {
  ParameterSpec spec;
  spec.name = name;
  spec.shape = shape;
  spec.initializer = {Initializer::Kind::kNormal, standard_deviation};
  spec.decay = true;
  return spec;
}

// Makes a gain (kOne) or a bias (kZero).
inline ParameterSpec vector_spec(const std::string& name, const Shape& shape,
                                 Initializer::Kind kind) {
  ParameterSpec spec;
  spec.name = name;
  spec.shape = shape;
  spec.initializer.kind = kind;
  return spec;
}

// Shards the parameter over the tensor axis in this dim.
inline ParameterSpec cut(ParameterSpec spec, int dim) {
  spec.placement[static_cast<size_t>(dim)] = Axis::kTensor;
  return spec;
}

}  // namespace leasehold
