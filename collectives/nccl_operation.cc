#include "collectives/nccl_operation.h"

#include <algorithm>

#include "collectives/nccl_calls.h"
#include "runtime/base/check.h"
#include "runtime/device/cuda_check.h"
#include "runtime/device/cuda_memory.h"
#include "runtime/tensor/cuda/ordered.h"

namespace leasehold {

namespace {

size_t count_of(const Tensor& tensor) { return static_cast<size_t>(tensor.num_elements()); }

// Sends to the ranks [begin, end) after this one, and receives from as many before it, side by
// side. What is empty is left out on both ends.
ncclResult_t exchange(const NcclOperation& operation, int begin, int end, ncclComm_t comm,
                      cudaStream_t stream) {
  const auto size = static_cast<int>(operation.sends.size());
  for (int distance = begin; distance < end; ++distance) {
    const int to = (operation.rank + distance) % size;
    const int from = (operation.rank + size - distance) % size;
    const Tensor& send = operation.sends[static_cast<size_t>(to)];
    const Tensor& receive = operation.receives[static_cast<size_t>(from)];
    ncclResult_t result = ncclSuccess;
    if (send.size_bytes() > 0) {
      result = ncclSend(send.data(), count_of(send), nccl_type(send.dtype()), to, comm, stream);
    }
    if (result != ncclSuccess) return result;
    if (receive.size_bytes() > 0) {
      result = ncclRecv(receive.data(), count_of(receive), nccl_type(receive.dtype()), from, comm,
                        stream);
    }
    if (result != ncclSuccess) return result;
  }
  return ncclSuccess;
}

// All ranks cut alike, so what one sends in a call the other receives in the same.
Status exchange_all(const NcclOperation& operation, int messages_per_call, ncclComm_t comm,
                    cudaStream_t stream) {
  const auto size = static_cast<int>(operation.sends.size());
  const int step = std::max(messages_per_call / 2, 1);
  for (int begin = 1; begin < size; begin += step) {
    LEASEHOLD_RETURN_IF_ERROR(nccl_status(ncclGroupStart(), "ncclGroupStart"));
    const ncclResult_t issued =
        exchange(operation, begin, std::min(begin + step, size), comm, stream);
    const ncclResult_t ended = ncclGroupEnd();
    LEASEHOLD_RETURN_IF_ERROR(nccl_status(issued, "handing it to NCCL"));
    LEASEHOLD_RETURN_IF_ERROR(nccl_status(ended, "ncclGroupEnd"));
  }
  return ok_status();
}

bool orders_numbers(const OperationSummary& summary) {
  const bool reduces =
      summary.kind == OperationKind::kAllReduce || summary.kind == OperationKind::kReduceScatter;
  const bool floating = summary.dtype == DType::kF32 || summary.dtype == DType::kF64;
  return reduces && floating && summary.op != ReduceOp::kSum;
}

template <typename T, typename Ordered>
void make_ordered(const NcclOperation& operation, void* ordered, cudaStream_t stream) {
  cuda::to_ordered(operation.input.as<T>(), operation.summary.op == ReduceOp::kMax,
                   static_cast<Ordered*>(ordered), operation.input.num_elements(), stream);
}

template <typename T, typename Ordered>
void make_numbers(const NcclOperation& operation, cudaStream_t stream) {
  cuda::from_ordered(static_cast<const Ordered*>(operation.to), operation.output.as<T>(),
                     operation.output.num_elements(), stream);
}

// Room for the input as integers: in its own place where the operation works in place.
Result<void*> room_for_integers(const NcclOperation& operation, NcclChannel& channel) {
  if (operation.summary.kind == OperationKind::kAllReduce) return operation.input.data();
  const int64_t bytes = operation.input.size_bytes();
  if (channel.scratch == nullptr || channel.scratch->size_bytes() < bytes) {
    channel.scratch.reset();
    LEASEHOLD_ASSIGN_OR_RETURN(
        channel.scratch, allocate_cuda_memory(CudaStream::from(*channel.stream).context(), bytes,
                                              MemoryKind::kDevice, "a maximum or minimum by NCCL"));
  }
  return channel.scratch->data();
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
  const ncclDataType_t type = operation.type;
  const void* input = operation.from;
  void* output = operation.to;
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
    case OperationKind::kSplit:
      break;
  }
  LEASEHOLD_CHECK(false, "no NCCL call for {}", to_string(summary));
}

}  // namespace

Status begin_operation(NcclOperation& operation, NcclChannel& channel) {
  const OperationSummary& summary = operation.summary;
  operation.from = operation.input.data();
  operation.to = operation.output.data();
  operation.type = nccl_type(summary.dtype);
  CudaStream& stream = CudaStream::from(*channel.stream);
  if (summary.kind == OperationKind::kAllToAll) {
    stream.enqueue([&](cudaStream_t handle) { copy_own_part(operation, handle); });
  }
  if (!orders_numbers(summary) || summary.elements == 0) return stream.failure();
  LEASEHOLD_ASSIGN_OR_RETURN(void* const integers, room_for_integers(operation, channel));
  const bool wide = summary.dtype == DType::kF64;
  operation.from = integers;
  operation.type = wide ? ncclInt64 : ncclInt32;
  stream.enqueue([&](cudaStream_t handle) {
    wide ? make_ordered<double, int64_t>(operation, integers, handle)
         : make_ordered<float, int32_t>(operation, integers, handle);
  });
  return stream.failure();
}

Status launch(const NcclOperation& operation, NcclChannel& channel) {
  const bool all_to_all = operation.summary.kind == OperationKind::kAllToAll;
  if (operation.summary.elements == 0 && !all_to_all) return ok_status();
  ncclComm_t comm = channel.comm;
  if (comm == nullptr) return error(Code::kUnavailable, "its communicator is aborted");
  CudaStream& stream = CudaStream::from(*channel.stream);
  Status status;
  stream.enqueue([&](cudaStream_t handle) {
    status = all_to_all ? exchange_all(operation, channel.messages_per_call, comm, handle)
                        : nccl_status(perform(operation, comm, handle), "handing it to NCCL");
  });
  return status.ok() ? stream.failure() : status;
}

Status end_operation(const NcclOperation& operation, NcclChannel& channel) {
  CudaStream& stream = CudaStream::from(*channel.stream);
  if (orders_numbers(operation.summary) && operation.summary.elements > 0) {
    stream.enqueue([&](cudaStream_t handle) {
      operation.summary.dtype == DType::kF64 ? make_numbers<double, int64_t>(operation, handle)
                                             : make_numbers<float, int32_t>(operation, handle);
    });
  }
  stream.record(*operation.done);
  return stream.failure();
}

}  // namespace leasehold
