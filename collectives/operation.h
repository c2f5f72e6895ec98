// Describes an operation in a few bytes. Ranks compare descriptions to detect that they issued
// different operations, and messages name them.
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
  int32_t peer = -1;  // root of a broadcast; the other rank of a send or receive
  // Elements of the shorter tensor; 0 for all_to_all, whose sizes differ per pair.
  int64_t elements = 0;
  bool operator==(const OperationSummary&) const = default;
};

// Returns true for a point-to-point operation, false for a collective.
inline bool is_message(const OperationSummary& summary) {
  return summary.kind == OperationKind::kSend || summary.kind == OperationKind::kReceive;
}

// Returns "all_reduce of 768 F32", "broadcast of 12 U8 from rank 0", "send of 5 F32 to rank 2",
// "all_to_all", "split".
std::string to_string(const OperationSummary& summary);

}  // namespace leasehold
