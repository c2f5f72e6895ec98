#include "runtime/device/cuda.h"

namespace leasehold {

void set_cuda_environment() {}

std::string device_uuid(Device&) { return ""; }

bool cuda_built() { return false; }

namespace {

Status absent() {
  return error(Code::kBadConfig,
               "device.kind = \"cuda\": this program was built without CUDA; write \"cpu\"");
}

}  // namespace

Result<int> cuda_device_of_rank(int) { return absent(); }

Result<std::unique_ptr<Device>> create_cuda_device(int, double) { return absent(); }

}  // namespace leasehold
