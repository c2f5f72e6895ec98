// Kernels in double precision, written directly from the formulas of kernels.h: slow, obvious, and
// without any code of the kernels that they judge. Every floating tensor is f64, statistics and
// AdamW state included. They run on any CPU stream and may hold whole T x T matrices. Workspaces
// have no size.
#pragma once

#include <memory>

#include "runtime/tensor/kernels.h"

namespace leasehold {

std::unique_ptr<Kernels> create_reference_kernels();

}  // namespace leasehold
