// A model as an engine takes it: what it is made of, and how to make any part of it.
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
  int64_t width = 0;            // channels of what one unit hands to the next
  // Units [begin, end), of whose parameters the table knows.
  std::function<Result<std::unique_ptr<Module>>(ParameterTable&, int64_t begin, int64_t end)>
      create;
};

}  // namespace leasehold
