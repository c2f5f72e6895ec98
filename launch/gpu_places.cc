#include "launch/gpu_places.h"

#include <map>

#include "runtime/comm/host_exchange.h"
#include "runtime/device/cuda.h"

namespace leasehold {

Status check_own_gpus(Device& device, ProcessGroup& processes, Stream& stream, Deadline deadline) {
  if (device.kind() != DeviceKind::kCuda) return ok_status();
  LEASEHOLD_ASSIGN_OR_RETURN(
      const std::vector<std::string> uuids,
      all_gather_bytes(processes.world(), stream, device_uuid(device), deadline));
  std::map<std::pair<std::string, std::string>, size_t> first;
  for (size_t rank = 0; rank < uuids.size(); ++rank) {
    const std::string& node = processes.nodes()[rank];
    const auto [found, is_new] = first.try_emplace({node, uuids[rank]}, rank);
    if (is_new) continue;
    return error(
        Code::kBadConfig,
        "device.kind = \"cuda\": ranks {} and {} of node {} have the same GPU ({}): give a "
        "node at most one rank per GPU, and let each rank see all of its GPUs "
        "(CUDA_VISIBLE_DEVICES) or another one alone",
        found->second, rank, node, uuids[rank]);
  }
  return ok_status();
}

}  // namespace leasehold
