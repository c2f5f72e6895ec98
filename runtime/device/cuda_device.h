// A CUDA device as a Device. One rank drives one device.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "runtime/device/device.h"

namespace leasehold {

class CudaContext;

struct CudaDeviceOptions {
  int node_local_rank = 0;    // the device's index among those that this process sees
  double wait_limit_s = 300;  // the longest that enqueueing and freeing wait for the device
};

// What the part is, and what drives it.
struct CudaDeviceProperties {
  std::string name;  // "NVIDIA GB300"
  std::string uuid;  // 32 hexadecimal digits: which part it is, whatever else a process sees
  int compute_capability_major = 0;
  int compute_capability_minor = 0;
  int num_multiprocessors = 0;
  int64_t memory_bytes = 0;
  int runtime_version = 0;  // 13000: 13.0
  int driver_version = 0;
};

class CudaDevice : public Device {
 public:
  // kBadConfig, with the way out, without a driver, a device for that rank, or one that the
  // kernels are built for, and where the driver loads kernels lazily without being told to. Calls
  // set_cuda_environment(), for programs whose main() did not.
  static Result<std::unique_ptr<CudaDevice>> create(const CudaDeviceOptions& options);
  // Every Device of kind kCuda is one. Checks.
  static CudaDevice& from(Device& device);

  virtual int index() const = 0;
  virtual const CudaDeviceProperties& properties() const = 0;
  virtual const std::shared_ptr<CudaContext>& context() const = 0;
};

}  // namespace leasehold
