// The parameter tables of the families, a file each, and what they are written with.
#pragma once

#include <string>
#include <vector>

#include "models/describe.h"

namespace leasehold {

// Both want a complete configuration of their family.
std::vector<ParameterSpec> describe_gpt2(const ModelConfig& config);
std::vector<ParameterSpec> describe_llama(const ModelConfig& config);

// Drawn from a normal distribution; weight decay applies.
inline ParameterSpec matrix_spec(const std::string& name, const Shape& shape,
                                 double standard_deviation) {
  ParameterSpec spec;
  spec.name = name;
  spec.shape = shape;
  spec.initializer = {Initializer::Kind::kNormal, standard_deviation};
  spec.decay = true;
  return spec;
}

// A gain (kOne) or bias (kZero).
inline ParameterSpec vector_spec(const std::string& name, const Shape& shape,
                                 Initializer::Kind kind) {
  ParameterSpec spec;
  spec.name = name;
  spec.shape = shape;
  spec.initializer.kind = kind;
  return spec;
}

// Sharded over the tensor axis in this dim.
inline ParameterSpec cut(ParameterSpec spec, int dim) {
  spec.placement[static_cast<size_t>(dim)] = Axis::kTensor;
  return spec;
}

}  // namespace leasehold
