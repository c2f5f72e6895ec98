// The seam to CUDA. Two files define these functions: one for builds with CUDA, and cuda_absent.cc,
// which is linked instead where the toolkit is missing and says so.
#pragma once

#include <memory>

#include "runtime/device/device.h"

namespace leasehold {

// Sets what the driver reads from the environment when it starts, where it is not set: that kernels
// are loaded at once, and how many streams run without waiting for each other. To be called first
// in main(): MPI may start the driver, and threads that read the environment. Nothing in builds
// without CUDA.
void set_cuda_environment();
// True when this build can drive CUDA devices at all.
bool cuda_built();
// Returns which part a CUDA device is, the same text in every process; "" for other devices.
std::string device_uuid(Device& device);
// Returns the index of a rank's device among those that its process sees: the rank's number on its
// node, or where the process sees one, that one, as launchers may show each task its own.
// kBadConfig as below.
Result<int> cuda_device_of_rank(int node_local_rank);
// The CUDA device with that index; enqueueing and freeing wait for it at most
// `wait_limit_s`. kBadConfig, with the way out, when the build has no CUDA, the machine no driver
// or no such device, or the driver started before set_cuda_environment() was called.
Result<std::unique_ptr<Device>> create_cuda_device(int index, double wait_limit_s = 300);

}  // namespace leasehold
