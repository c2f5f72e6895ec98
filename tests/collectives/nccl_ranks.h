// Ranks with a CUDA device each and a world over NCCL, for tests on hardware and on the emulation.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "runtime/device/cuda_device.h"
#include "tests/collectives/conformance.h"

namespace leasehold {

// Why `num_ranks` ranks cannot have a device each here; "" when they can.
std::string why_no_devices(int num_ranks);

// The device of a rank whose number on its node this is.
std::unique_ptr<CudaDevice> make_cuda_device(int node_local_rank, double wait_limit_s = 60);

ConformanceDevice conformance_device(CudaDevice& device);

struct NcclRank {
  Communicator& host;   // ranks as threads
  Communicator& world;  // the same over NCCL
  CudaDevice& device;
};
// Runs body on `num_ranks` threads. `timeout_s` is that of the world; the host's is 30 s.
void run_nccl_ranks(int num_ranks, double timeout_s, const std::function<void(NcclRank&)>& body);

}  // namespace leasehold
