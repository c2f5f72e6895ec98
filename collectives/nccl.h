// The seam to NCCL. Two files define these functions: one for builds with CUDA and NCCL, and
// nccl_absent.cc, which is linked instead where the toolkit is missing and says so.
#pragma once

#include <memory>
#include <string>

#include "runtime/comm/mesh.h"

namespace leasehold {

// True when this build can make NCCL communicators at all.
bool nccl_built();

struct NcclOptions {
  GroupUse use = GroupUse::kAll;
  // NCCL's own limit for what one call may hold; an exchange of all ranks with more is cut.
  int messages_per_call = 2048;
};

// Collective over `bootstrap`, a host-memory group: the group of the same ranks in the same order
// whose operations run on the streams of `device`, this rank's own CUDA device. Both must outlive
// it. For messages alone it makes no communicator of all ranks, and connects the ranks next to each
// other in the direction of the use before it returns. kBadConfig when the build has no NCCL,
// kResourceExhausted when the device's memory does not suffice.
Result<std::unique_ptr<Communicator>> create_nccl_communicator(Communicator& bootstrap,
                                                               Device& device,
                                                               const std::string& name,
                                                               double timeout_s,
                                                               const NcclOptions& options = {});

// The same for several groups of `device`: one thread looks after them all. `device` and the groups
// that it is called with must outlive what it makes.
Mesh::GroupMaker nccl_group_maker(Device& device, double timeout_s);

// Fails a stream of a CUDA device: what follows on it is skipped, and synchronize() returns
// `status`.
void fail_cuda_stream(Stream& stream, const Status& status);

}  // namespace leasehold
