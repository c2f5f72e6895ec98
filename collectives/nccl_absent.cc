#include "collectives/nccl.h"

namespace leasehold {

bool nccl_built() { return false; }

Mesh::GroupMaker nccl_group_maker(Device& device, double timeout_s) {
  return [&device, timeout_s](Communicator& host_group, GroupUse) {
    return create_nccl_communicator(host_group, device, host_group.name(), timeout_s);
  };
}

// There is no such stream.
void fail_cuda_stream(Stream&, const Status& status) { throw_if_error(status); }

Result<std::unique_ptr<Communicator>> create_nccl_communicator(Communicator&, Device&,
                                                               const std::string& name, double,
                                                               const NcclOptions&) {
  return error(
      Code::kBadConfig,
      "group {} on device.kind = \"cuda\": this program was built without NCCL; write \"cpu\"",
      name);
}

}  // namespace leasehold
