// Which units and parameters each part of a model holds: what pipeline stages are made of. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/base/status.h"
#include "runtime/module/parameter.h"

namespace leasehold {

struct PartUse {
  int parameter = 0;  // index into ModelPart::parameters
  int slot = 0;       // index into its slots
};

struct ModelPart {
  int64_t first_unit = 0;
  int64_t end_unit = 0;
  std::vector<ParameterSpec> parameters;  // those that the units use, in the order of the model's
  std::vector<std::vector<int>> slots;  // per parameter the gradient slots written here, ascending
  std::vector<int> unit_of;             // per parameter the first unit that uses it, from 0
  std::vector<std::string> unit_names;
  std::vector<std::vector<PartUse>> uses;  // per unit
};

// The model as `num_parts` parts in a row: equal shares of the inner units (the blocks), the first
// unit joining the first part and the last unit the last. kBadConfig, saying which numbers of parts
// would work, when the inner units cannot be shared equally.
Result<std::vector<ModelPart>> cut_model(const std::vector<ParameterSpec>& parameters,
                                         const std::vector<UnitSpec>& units, int num_parts);

}  // namespace leasehold
