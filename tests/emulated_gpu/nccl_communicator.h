// Inside the emulated NCCL: a communicator of one rank, and what is given to its operations.
#pragma once

#include <array>
#include <atomic>
#include <cuda_runtime.h>
#include <nccl.h>
#include <string>

#include "tests/emulated_gpu/emulation.h"
#include "tests/emulated_gpu/nccl_segment.h"

namespace leasehold::emulation {

enum class NcclKind : int32_t { kAllReduce, kAllGather, kReduceScatter, kBroadcast, kSend, kRecv };

// One call of an operation.
struct NcclPart {
  NcclKind kind = NcclKind::kAllReduce;
  const void* input = nullptr;
  void* output = nullptr;
  size_t count = 0;  // as in the call
  ncclDataType_t type = ncclUint8;
  ncclRedOp_t operation = ncclSum;
  int peer = -1;  // or root
};

// The operations of one group call. It allocates no memory. NCCL takes 2048 messages in a call;
// this takes as many as an exchange of all ranks needs.
struct NcclCall {
  static constexpr int kMaxParts = 2 * kMaxNcclRanks;
  std::array<NcclPart, kMaxParts> parts;
  int num_parts = 0;
  cudaStream_t stream = nullptr;
};

size_t size_of_nccl_type(ncclDataType_t type);  // 0: not one that is emulated

}  // namespace leasehold::emulation

// The vendor's opaque type.
struct ncclComm {
  enum class Phase { kMaking, kReady, kFinalized };

  int rank = 0;
  int size = 0;
  int device = 0;
  std::string name;
  leasehold::emulation::NcclMembership membership;
  Phase phase = Phase::kMaking;
  int num_ctas = 0;  // that an operation takes of the device
  std::array<void*, 2 + leasehold::emulation::kMaxNcclRanks> memory{};  // of the device
  int num_memory = 0;
  std::atomic<bool> aborted{false};
  std::atomic<int> error{ncclSuccess};  // of this rank
  std::atomic<int> num_enqueued{0};     // on streams, and not over
  std::atomic<int> num_inside{0};       // threads in a call of it

  int64_t num_calls = 0;
};

namespace leasehold::emulation {

// Performs the call on the calling thread: a stream's. Returns when it is over, or aborted.
void run_nccl_call(ncclComm& comm, const NcclCall& call);

// What was injected for this call of the communicator.
enum class NcclFault { kNone, kSkip, kHang, kError, kKill };
NcclFault take_nccl_fault(const ncclComm& comm, int64_t call);

}  // namespace leasehold::emulation
