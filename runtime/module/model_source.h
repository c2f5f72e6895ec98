// A model in the form that an engine takes: a description of its parameters and units, and a
// function that creates any range of units.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "runtime/module/module.h"

namespace leasehold {

struct ModelSource {
  std::vector<ParameterSpec> parameters;
  std::vector<UnitSpec> units;  // in order of forward
  int64_t width = 0;            // channels of the tensor that one unit passes to the next
  // Creates units [begin, end). The table must hold their parameters.
  std::function<Result<std::unique_ptr<Module>>(ParameterTable&, int64_t begin, int64_t end)>
      create;
};

}  // namespace leasehold
