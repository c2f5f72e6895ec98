// Estimates the GPU memory that a rank takes besides what its plan allocates.
#pragma once

#include <cstdint>
#include <string>

#include "collectives/nccl_forecast.h"

namespace leasehold {

// About how many bytes the driver's context with all kernels loaded, cuBLASLt and the communicators
// of NCCL take. Estimates: no GPU was asked.
int64_t outside_plan_bytes(const NcclForecast& communicators);

// The same in one line, by parts.
std::string outside_plan_line(const NcclForecast& communicators);

}  // namespace leasehold
