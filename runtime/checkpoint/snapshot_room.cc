#include "runtime/checkpoint/snapshot_room.h"

#include <algorithm>

namespace leasehold {

namespace {

// How many bytes a node lacks for `level`, beside what it keeps of older generations or without
// that; not positive when it fits.
int64_t lacking_bytes(const NodeRoom& node, SlotLevel level, bool beside_older) {
  return bytes_of(level, node.shares) - node.free_bytes - (beside_older ? 0 : node.older_bytes);
}

// False, and noted unless something was before, where a node is too small.
bool fits(std::span<const NodeRoom> nodes, SlotLevel level, bool beside_older, RoomPlan& plan) {
  const auto most = std::ranges::max_element(
      nodes, {}, [&](const NodeRoom& node) { return lacking_bytes(node, level, beside_older); });
  const int64_t lacking = lacking_bytes(*most, level, beside_older);
  if (lacking <= 0) return true;
  if (plan.short_node.empty()) {
    plan.short_node = most->node;
    plan.short_bytes = lacking;
  }
  return false;
}

}  // namespace

SlotCounts slots_of(SlotLevel level) {
  switch (level) {
    case SlotLevel::kNone:
      return {};
    case SlotLevel::kFirst:
      return {.own = 1, .copies = 1};
    case SlotLevel::kLean:
      return {.own = 2, .copies = 2};
    case SlotLevel::kFull:
      return {.own = 3, .copies = 2};
  }
  return {};
}

int64_t bytes_of(SlotLevel level, const NodeShares& shares) {
  const SlotCounts counts = slots_of(level);
  return counts.own * shares.own_bytes + counts.copies * shares.copies_bytes;
}

int64_t recovery_bytes(const NodeShares& shares) { return 2 * bytes_of(SlotLevel::kFirst, shares); }

int64_t snapshot_share(int64_t num_parameters, int64_t num_ranks) {
  constexpr int64_t kValueBytes = 3 * sizeof(float);
  constexpr int64_t kHeaderBytes = int64_t{256} << 10;
  const int64_t state = (num_parameters + num_ranks - 1) / num_ranks * kValueBytes;
  return state + state / 100 + kHeaderBytes;
}

RoomPlan plan_room(std::span<const NodeRoom> nodes, bool from_memory) {
  RoomPlan plan;
  for (const SlotLevel level : {SlotLevel::kFull, SlotLevel::kLean}) {
    if (!fits(nodes, level, false, plan)) continue;
    plan.begins = plan.ends = level;
    break;
  }
  if (plan.ends == SlotLevel::kNone) return plan;
  if (!from_memory) {
    plan.steps = {RoomStep::kReserve};
    return plan;
  }
  RoomPlan beside;  // with its own account of what is short
  if (!fits(nodes, SlotLevel::kFirst, true, beside)) return beside;
  plan.begins = SlotLevel::kFirst;
  plan.steps = {RoomStep::kReserve, RoomStep::kCommit, RoomStep::kDropOlder, RoomStep::kGrow};
  return plan;
}

}  // namespace leasehold
