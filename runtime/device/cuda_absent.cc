#include "runtime/device/cuda.h"

namespace leasehold {

bool cuda_built() { return false; }

Result<std::unique_ptr<Device>> create_cuda_device(int, double) {
  return error(Code::kBadConfig,
               "device.kind = \"cuda\": this program was built without CUDA; write \"cpu\"");
}

}  // namespace leasehold
