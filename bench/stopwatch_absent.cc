#include "bench/stopwatch.h"
#include "runtime/base/check.h"

namespace leasehold {

std::unique_ptr<Stopwatch> create_cuda_stopwatch() {
  LEASEHOLD_CHECK(false, "a stopwatch for CUDA in a build without it");
  return nullptr;
}

}  // namespace leasehold
