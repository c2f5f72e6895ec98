// Inside `nccl`: NCCL's returns, types and configuration in terms of the house.
#pragma once

#include <nccl.h>
#include <string>

#include "runtime/base/status.h"
#include "runtime/comm/communicator.h"

namespace leasehold {

// Ok for ncclSuccess and ncclInProgress. kResourceExhausted, with the way out, when the device had
// no memory for it; kUnavailable when a peer, the network or the device was lost, else kInternal;
// names the call, NCCL's text of the error and the last thing it reported.
Status nccl_status(ncclResult_t result, const char* call);

// Every dtype has one; arithmetic is defined where Communicator allows it.
ncclDataType_t nccl_type(DType dtype);
ncclRedOp_t nccl_operation(ReduceOp op);

// Returns the configuration of a communicator whose calls return when what they ask for is
// enqueued, as a thread for each call would make of them otherwise. `name` must outlive the call
// that it is given to. `max_ctas`: the most blocks that its kernels have; 0: as many as the library
// wants.
ncclConfig_t communicator_config(const std::string& name, int max_ctas);

}  // namespace leasehold
