// Every return of the CUDA runtime is checked. Plain C++ without the project's other headers, so
// that kernels' sources, which the CUDA compiler reads, can include it.
#pragma once

#include <cuda_runtime.h>

namespace leasehold {

// Throws StatusError that names the call, CUDA's name and text of the error, and the current
// device: kResourceExhausted for lack of memory, kBrokenHost for broken parts, else kInternal.
// `call` is the function's name, with what it was called for where that helps.
void check_cuda(cudaError_t result, const char* call);

}  // namespace leasehold
