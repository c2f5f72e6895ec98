// The plan by which snapshots share memory, over all small sizes, losses and amounts of memory.
#include "runtime/checkpoint/snapshot_room.h"

#include <algorithm>
#include <gtest/gtest.h>

namespace leasehold {
namespace {

// A memory that plays a plan.
struct PlayedMemory {
  NodeRoom room;
  int64_t used = 0;  // by this generation
  bool older_remain = false;
  bool committed = false;

  void take(const RoomPlan& plan, RoomStep step) {
    switch (step) {
      case RoomStep::kReserve:
        used = bytes_of(plan.begins, room.shares);
        break;
      case RoomStep::kCommit:
        committed = true;
        break;
      case RoomStep::kDropOlder:
        older_remain = false;
        break;
      case RoomStep::kGrow:
        used = bytes_of(plan.ends, room.shares);
        break;
    }
  }
  int64_t in_use() const { return used + (older_remain ? room.older_bytes : 0); }
};

// Plays a plan on one memory; fails where more is used than there is, or no snapshot is whole.
void play(const NodeRoom& room, const RoomPlan& plan, bool from_memory) {
  PlayedMemory memory{.room = room, .used = 0, .older_remain = from_memory, .committed = false};
  const int64_t total = room.free_bytes + (from_memory ? room.older_bytes : 0);
  for (const RoomStep step : plan.steps) {
    memory.take(plan, step);
    ASSERT_LE(memory.in_use(), total);
    ASSERT_TRUE(!from_memory || memory.older_remain || memory.committed);
  }
  EXPECT_EQ(memory.used, bytes_of(plan.ends, room.shares));
}

std::string text(const NodeRoom& room) {
  return "own " + std::to_string(room.shares.own_bytes) + " copies " +
         std::to_string(room.shares.copies_bytes) + " free " + std::to_string(room.free_bytes) +
         " older " + std::to_string(room.older_bytes);
}

TEST(SnapshotRoom, NoPlanNeedsMoreThanThereIsOrLosesTheState) {
  for (const bool from_memory : {false, true}) {
    for (int64_t own = 1; own <= 6; ++own) {
      for (int64_t copies = 0; copies <= 6; ++copies) {
        for (int64_t older = 0; older <= 14; older += 2) {
          for (int64_t free = 0; free <= 40; ++free) {
            const NodeRoom room{.node = "a",
                                .shares = {own, copies},
                                .free_bytes = free,
                                .older_bytes = from_memory ? older : 0};
            SCOPED_TRACE(text(room));
            const RoomPlan plan = plan_room(std::vector{room}, from_memory);
            play(room, plan, from_memory);
            // Nothing better was possible.
            const int64_t total = free + room.older_bytes;
            const bool begins = !from_memory || bytes_of(SlotLevel::kFirst, room.shares) <= free;
            const SlotLevel best =
                bytes_of(SlotLevel::kFull, room.shares) <= total   ? SlotLevel::kFull
                : bytes_of(SlotLevel::kLean, room.shares) <= total ? SlotLevel::kLean
                                                                   : SlotLevel::kNone;
            EXPECT_EQ(plan.ends, begins ? best : SlotLevel::kNone);
            EXPECT_EQ(plan.steps.empty(), plan.ends == SlotLevel::kNone);
          }
        }
      }
    }
  }
}

// Whatever fitted at the start fits in a recovery: the older snapshot is one part and one copy.
TEST(SnapshotRoom, ARecoveryOnTheSameNodesNeedsNoMoreThanTheStart) {
  for (int64_t own = 1; own <= 20; ++own) {
    for (int64_t copies = 0; copies <= 20; ++copies) {
      const NodeShares shares{own, copies};
      EXPECT_LE(recovery_bytes(shares), bytes_of(SlotLevel::kFull, shares));
      const int64_t older = own + copies;
      const NodeRoom room{.node = "a",
                          .shares = shares,
                          .free_bytes = bytes_of(SlotLevel::kFull, shares) - older,
                          .older_bytes = older};
      const RoomPlan plan = plan_room(std::vector{room}, true);
      EXPECT_EQ(plan.begins, SlotLevel::kFirst);
      EXPECT_EQ(plan.ends, SlotLevel::kFull);
      play(room, plan, true);
    }
  }
}

// Of eight nodes all but `left` are lost, and shares grow. Every node lives with the same plan.
TEST(SnapshotRoom, WhereNodesAreLostAllTakeThePlanOfTheSmallest) {
  constexpr int64_t kState = 840;
  for (int64_t left = 1; left <= 8; ++left) {
    for (int64_t total = 100; total <= 5 * kState; total += 35) {
      const int64_t share = kState / left;
      std::vector<NodeRoom> rooms;
      for (int64_t node = 0; node < left; ++node) {
        const int64_t older = std::min<int64_t>(2 * kState / 8, total);
        // The second is smaller than the others.
        const int64_t size = node == 1 ? total - total / 8 : total;
        rooms.push_back({.node = std::to_string(node),
                         .shares = {share, left > 1 ? share : 0},
                         .free_bytes = std::max<int64_t>(size - older, 0),
                         .older_bytes = older});
      }
      const RoomPlan plan = plan_room(rooms, true);
      for (const NodeRoom& room : rooms) play(room, plan, true);
      // None could have more: the smallest is full.
      const auto lacks = [&](SlotLevel level) {
        return std::ranges::any_of(
            rooms, [&](const NodeRoom& room) { return lacking_bytes(room, level, false) > 0; });
      };
      EXPECT_TRUE(plan.ends != SlotLevel::kLean || lacks(SlotLevel::kFull));
    }
  }
}

}  // namespace
}  // namespace leasehold
