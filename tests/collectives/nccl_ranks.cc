#include "tests/collectives/nccl_ranks.h"

#include "collectives/nccl.h"
#include "collectives/threads.h"
#include "runtime/device/cuda_stream.h"
#include "runtime/tensor/cuda/elementwise.h"

namespace leasehold {

std::string why_no_devices(int num_ranks) {
  const auto last = CudaDevice::create({.node_local_rank = num_ranks - 1});
  return last.ok() ? "" : last.status().message();
}

std::unique_ptr<CudaDevice> make_cuda_device(int node_local_rank, double wait_limit_s) {
  return std::move(
             CudaDevice::create({.node_local_rank = node_local_rank, .wait_limit_s = wait_limit_s}))
      .value();
}

ConformanceDevice conformance_device(CudaDevice& device) {
  const auto add = [](Stream& stream, Tensor left, Tensor right, Tensor out) {
    CudaStream::from(stream).enqueue([&](cudaStream_t handle) {
      cuda::add(left.as<double>(), right.as<double>(), out.as<double>(), out.num_elements(),
                handle);
    });
  };
  return {device, add};
}

void run_nccl_ranks(int num_ranks, double timeout_s, const std::function<void(NcclRank&)>& body,
                    const NcclOptions& options) {
  constexpr double kHostTimeoutS = 30;
  run_ranks(num_ranks, {.timeout_s = kHostTimeoutS}, [&](Communicator& host) {
    const auto device = make_cuda_device(host.rank());
    auto world = create_nccl_communicator(host, *device, "world", timeout_s, options);
    throw_if_error(world.status());
    NcclRank rank{host, **world, *device};
    body(rank);
  });
}

}  // namespace leasehold
