#include "runtime/tensor/kernels_cuda.h"

namespace leasehold {

Result<std::unique_ptr<Kernels>> create_cuda_kernels(Device& device, DType) {
  return error(Code::kBadConfig, "{}: this program was built without CUDA", device.name());
}

}  // namespace leasehold
