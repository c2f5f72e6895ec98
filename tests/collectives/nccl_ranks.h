// Makes ranks with a CUDA device each and a world over NCCL, for tests on hardware and on the
// emulation.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "collectives/nccl.h"
#include "runtime/device/cuda_device.h"
#include "tests/collectives/conformance.h"

namespace leasehold {

// Returns the reason why `num_ranks` ranks cannot have a device each here; "" if they can.
std::string why_no_devices(int num_ranks);

// Returns the device of the rank with this number on its node.
std::unique_ptr<CudaDevice> make_cuda_device(int node_local_rank, double wait_limit_s = 60);

ConformanceDevice conformance_device(CudaDevice& device);

struct NcclRank {
  Communicator& host;   // ranks as threads
  Communicator& world;  // the same ranks over NCCL
  CudaDevice& device;
};
// Runs `body` on `num_ranks` threads. `timeout_s` is the timeout of the world; the host's is 30 s.
void run_nccl_ranks(int num_ranks, double timeout_s, const std::function<void(NcclRank&)>& body,
                    const NcclOptions& options = {});

}  // namespace leasehold
