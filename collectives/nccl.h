// The seam to NCCL. Two files define these functions: one for builds with CUDA and NCCL, and
// nccl_absent.cc, which is linked instead where the toolkit is missing and says so.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "runtime/comm/communicator.h"

namespace leasehold {

// True when this build can make NCCL communicators at all.
bool nccl_built();

// Collective over `bootstrap`, a host-memory group: the group of the same ranks in the same order
// whose operations run on the streams of `device`, this rank's own CUDA device. Both must outlive
// it. kBadConfig when the build has no NCCL.
Result<std::unique_ptr<Communicator>> create_nccl_communicator(Communicator& bootstrap,
                                                               Device& device,
                                                               const std::string& name,
                                                               double timeout_s);

// The same for several groups of `device`, as Mesh::create wants it: one thread looks after them
// all. `device` and the groups that it is called with must outlive what it makes.
std::function<Result<std::unique_ptr<Communicator>>(Communicator& host_group)> nccl_group_maker(
    Device& device, double timeout_s);

// Fails a stream of a CUDA device: what follows on it is skipped, and synchronize() returns
// `status`.
void fail_cuda_stream(Stream& stream, const Status& status);

}  // namespace leasehold
