// SwiGLU and GELU where e^x leaves the range of fp32: every implementation of Kernels stays near
// the formula there, and shows an infinite input as a result that is not finite.
#pragma once

#include "tests/runtime/tensor/operation_case.h"

namespace leasehold {

void expect_sound_extremes(Backend& backend);

}  // namespace leasehold
