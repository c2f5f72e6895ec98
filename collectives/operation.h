// What an operation is, in a few bytes: ranks compare it to detect that they issued different
// operations, and messages name it.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/comm/communicator.h"

namespace leasehold {

enum class OperationKind : uint8_t {
  kAllReduce,
  kAllGather,
  kReduceScatter,
  kAllToAll,
  kBroadcast,
  kSend,
  kReceive,
  kSplit,
};
const char* operation_kind_name(OperationKind kind);  // "all_reduce", ...

struct OperationSummary {
  OperationKind kind = OperationKind::kAllReduce;
  DType dtype = DType::kU8;
  ReduceOp op = ReduceOp::kSum;
  int32_t peer = -1;     // root of a broadcast; the other rank of a send or receive
  int64_t elements = 0;  // of the shorter tensor; 0 for all_to_all, whose sizes differ per pair
  bool operator==(const OperationSummary&) const = default;
};

// Point to point, as opposed to a collective.
inline bool is_message(const OperationSummary& summary) {
  return summary.kind == OperationKind::kSend || summary.kind == OperationKind::kReceive;
}

// "all_reduce of 768 F32", "broadcast of 12 U8 from rank 0", "send of 5 F32 to rank 2",
// "all_to_all", "split"
std::string to_string(const OperationSummary& summary);

}  // namespace leasehold
