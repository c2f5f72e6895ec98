#include "collectives/nccl_operation.h"

#include "collectives/nccl_calls.h"
#include "runtime/base/check.h"
#include "runtime/device/cuda_check.h"

namespace leasehold {

namespace {

size_t count_of(const Tensor& tensor) { return static_cast<size_t>(tensor.num_elements()); }

// Sends and receives of one all_to_all go side by side. What is empty is left out on both ends.
ncclResult_t exchange(const NcclOperation& operation, ncclComm_t comm, cudaStream_t stream) {
  for (size_t p = 0; p < operation.sends.size(); ++p) {
    const int peer = static_cast<int>(p);
    const Tensor& send = operation.sends[p];
    const Tensor& receive = operation.receives[p];
    if (peer == operation.rank) continue;
    ncclResult_t result = ncclSuccess;
    if (send.size_bytes() > 0) {
      result = ncclSend(send.data(), count_of(send), nccl_type(send.dtype()), peer, comm, stream);
    }
    if (result != ncclSuccess && result != ncclInProgress) return result;
    if (receive.size_bytes() > 0) {
      result = ncclRecv(receive.data(), count_of(receive), nccl_type(receive.dtype()), peer, comm,
                        stream);
    }
    if (result != ncclSuccess && result != ncclInProgress) return result;
  }
  return ncclSuccess;
}

void copy_own_part(const NcclOperation& operation, cudaStream_t stream) {
  const auto own = static_cast<size_t>(operation.rank);
  const Tensor& from = operation.sends[own];
  const Tensor& to = operation.receives[own];
  if (from.size_bytes() == 0 || from.data() == to.data()) return;
  check_cuda(cudaMemcpyAsync(to.data(), from.data(), static_cast<size_t>(from.size_bytes()),
                             cudaMemcpyDeviceToDevice, stream),
             "cudaMemcpyAsync of an all_to_all");
}

ncclResult_t perform(const NcclOperation& operation, ncclComm_t comm, cudaStream_t stream) {
  const OperationSummary& summary = operation.summary;
  const auto elements = static_cast<size_t>(summary.elements);
  const ncclDataType_t type = nccl_type(summary.dtype);
  const void* input = operation.input.data();
  void* output = operation.output.data();
  switch (summary.kind) {
    case OperationKind::kAllReduce:
      return ncclAllReduce(input, output, elements, type, nccl_operation(summary.op), comm, stream);
    case OperationKind::kAllGather:
      return ncclAllGather(input, output, elements, type, comm, stream);
    case OperationKind::kReduceScatter:
      return ncclReduceScatter(input, output, elements, type, nccl_operation(summary.op), comm,
                               stream);
    case OperationKind::kBroadcast:
      return ncclBroadcast(input, output, elements, type, summary.peer, comm, stream);
    case OperationKind::kSend:  // a message's channel has two ranks: 0 sends, 1 receives
      return ncclSend(input, elements, type, 1, comm, stream);
    case OperationKind::kReceive:
      return ncclRecv(output, elements, type, 0, comm, stream);
    case OperationKind::kAllToAll:
      return exchange(operation, comm, stream);
    case OperationKind::kSplit:
      break;
  }
  LEASEHOLD_CHECK(false, "no NCCL call for {}", to_string(summary));
}

}  // namespace

Status launch(const NcclOperation& operation, ncclComm_t comm, cudaStream_t stream) {
  const bool all_to_all = operation.summary.kind == OperationKind::kAllToAll;
  if (operation.summary.elements == 0 && !all_to_all) return ok_status();
  if (all_to_all) copy_own_part(operation, stream);
  LEASEHOLD_RETURN_IF_ERROR(nccl_status(ncclGroupStart(), "ncclGroupStart"));
  const ncclResult_t performed = perform(operation, comm, stream);
  const ncclResult_t ended = ncclGroupEnd();
  const Status status = nccl_status(performed, "handing it to NCCL");
  return status.ok() ? nccl_status(ended, "ncclGroupEnd") : status;
}

}  // namespace leasehold
