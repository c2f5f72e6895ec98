#include "collectives/operation.h"

namespace leasehold {

const char* operation_kind_name(OperationKind kind) {
  switch (kind) {
    case OperationKind::kAllReduce:
      return "all_reduce";
    case OperationKind::kAllGather:
      return "all_gather";
    case OperationKind::kReduceScatter:
      return "reduce_scatter";
    case OperationKind::kAllToAll:
      return "all_to_all";
    case OperationKind::kBroadcast:
      return "broadcast";
    case OperationKind::kSend:
      return "send";
    case OperationKind::kReceive:
      return "receive";
    case OperationKind::kSplit:
      return "split";
  }
  return "unknown operation";
}

std::string to_string(const OperationSummary& summary) {
  const char* name = operation_kind_name(summary.kind);
  if (summary.kind == OperationKind::kAllToAll || summary.kind == OperationKind::kSplit)
    return name;
  std::string text = fmt::format("{} of {} {}", name, summary.elements, dtype_name(summary.dtype));
  if (summary.op == ReduceOp::kMax) text += " (max)";
  if (summary.op == ReduceOp::kMin) text += " (min)";
  if (summary.kind == OperationKind::kBroadcast) text += fmt::format(" from rank {}", summary.peer);
  if (summary.kind == OperationKind::kSend) text += fmt::format(" to rank {}", summary.peer);
  if (summary.kind == OperationKind::kReceive) text += fmt::format(" from rank {}", summary.peer);
  return text;
}

}  // namespace leasehold
