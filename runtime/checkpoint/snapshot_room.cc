#include "runtime/checkpoint/snapshot_room.h"

#include <algorithm>

namespace leasehold {

namespace {

bool fits(std::span<const NodeRoom> rooms, SlotLevel level, bool beside_older) {
  return std::ranges::all_of(
      rooms, [&](const NodeRoom& room) { return lacking_bytes(room, level, beside_older) <= 0; });
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

int64_t lacking_bytes(const NodeRoom& room, SlotLevel level, bool beside_older) {
  return bytes_of(level, room.shares) - room.free_bytes - (beside_older ? 0 : room.older_bytes);
}

RoomPlan plan_room(std::span<const NodeRoom> nodes, bool from_memory) {
  SlotLevel most = SlotLevel::kNone;
  for (const SlotLevel level : {SlotLevel::kLean, SlotLevel::kFull}) {
    if (fits(nodes, level, false)) most = level;
  }
  if (most == SlotLevel::kNone) return {};
  if (!from_memory) return {.steps = {RoomStep::kReserve}, .begins = most, .ends = most};
  if (!fits(nodes, SlotLevel::kFirst, true)) return {};
  return {.steps = {RoomStep::kReserve, RoomStep::kCommit, RoomStep::kDropOlder, RoomStep::kGrow},
          .begins = SlotLevel::kFirst,
          .ends = most};
}

}  // namespace leasehold
