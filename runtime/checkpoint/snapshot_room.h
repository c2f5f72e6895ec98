// The plan by which snapshots share a node's memory: how many slots a generation reserves, when,
// and which older ones make room for them. Pure.
//
// A recovery starts beside the snapshot that the state came from, and that one may not go before
// this generation has a whole snapshot of its own. So a recovery begins with the fewest slots, and
// takes the rest once it has committed: at no moment does it need more than a start that
// succeeded.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace leasehold {

// Slots that each rank has.
enum class SlotLevel {
  kNone,   // no snapshots
  kFirst,  // 1 own, 1 for each copy: enough for one snapshot, and never for a second one
  kLean,   // 2 and 2: while files are written from one, the next snapshot may have to wait
  kFull,   // 3 and 2
};
struct SlotCounts {
  int64_t own = 0;
  int64_t copies = 0;  // for each rank whose copies are kept
};
SlotCounts slots_of(SlotLevel level);

// Bytes of one snapshot of the ranks of a node, descriptions included.
struct NodeShares {
  int64_t own_bytes = 0;     // of all ranks of the node
  int64_t copies_bytes = 0;  // of all ranks whose copies the node keeps
};
int64_t bytes_of(SlotLevel level, const NodeShares& shares);

// The most that a recovery on the same nodes needs before its first commit: the snapshot that the
// state came from, and the fewest slots. Never more than kFull needs.
int64_t recovery_bytes(const NodeShares& shares);

// About the size of a rank's part of a state with so many parameters, as a snapshot with its
// description: three fp32 values each, and what headers and padding add.
int64_t snapshot_share(int64_t num_parameters, int64_t num_ranks);

// What a node has, after everything of older generations is gone that the state was not restored
// from.
struct NodeRoom {
  std::string node;  // or nodes that share a memory
  NodeShares shares;
  int64_t free_bytes = 0;
  int64_t older_bytes = 0;  // of the snapshot that the state was restored from
};

// Returns how many bytes a node lacks for `level`, beside what it keeps of older generations or
// without that; not positive where it fits.
int64_t lacking_bytes(const NodeRoom& room, SlotLevel level, bool beside_older);

enum class RoomStep {
  kReserve,    // slots up to RoomPlan::begins
  kCommit,     // the first snapshot of this generation is whole everywhere
  kDropOlder,  // what the state was restored from goes
  kGrow,       // slots up to RoomPlan::ends
};

struct RoomPlan {
  std::vector<RoomStep> steps;  // empty: no snapshots
  SlotLevel begins = SlotLevel::kNone;
  SlotLevel ends = SlotLevel::kNone;
};

// The same for all nodes, since all ranks take the same snapshots. `from_memory`: the state was
// restored from snapshots, so those stay until the first one is committed.
RoomPlan plan_room(std::span<const NodeRoom> nodes, bool from_memory);

}  // namespace leasehold
