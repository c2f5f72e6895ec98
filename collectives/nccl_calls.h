// Inside `nccl`: NCCL's returns, types and configuration in terms of the house.
#pragma once

#include <nccl.h>
#include <string>

#include "runtime/base/status.h"
#include "runtime/comm/communicator.h"

namespace leasehold {

// Ok for ncclSuccess and ncclInProgress. kUnavailable when a peer, the network or the device was
// lost, else kInternal; names the call, NCCL's text of the error and the last thing it reported.
Status nccl_status(ncclResult_t result, const char* call);

// Every dtype has one; arithmetic is defined where Communicator allows it.
ncclDataType_t nccl_type(DType dtype);
ncclRedOp_t nccl_operation(ReduceOp op);

// A communicator whose calls never block; `name` must outlive the call that it is given to.
ncclConfig_t non_blocking_config(const std::string& name);

}  // namespace leasehold
