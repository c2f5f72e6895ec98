// Inside `nccl`: messages from one rank to another. NCCL runs the operations of a communicator one
// after another on each rank, so a receive that waits for its sender would hold up sends to others,
// and ranks that all send first would wait for each other for ever. Therefore each direction
// between two ranks that is used is a lane: a communicator of those two with a stream of its own. A
// lane is made on a thread of its own, when the group is made or when its first message is issued;
// messages queue until it is ready.
#pragma once

#include <memory>
#include <vector>

#include "collectives/nccl_operation.h"
#include "runtime/comm/communicator.h"

namespace leasehold {

// The most blocks of a lane's kernels. They stay on the device while they wait for the other rank,
// and a rank's lanes wait all at once.
inline constexpr int kLaneCtas = 4;

struct NcclLane {
  int peer = 0;
  bool outgoing = false;
  NcclChannel channel;
  // Guarded by the group's mutex.
  bool is_ready = false;
  std::vector<std::shared_ptr<NcclOperation>> queue;
  // The startup of the lane's thread, until it is ready.
  ncclUniqueId id{};
  Work exchange;  // of the id, from the sender to the receiver
  std::unique_ptr<Event> proof;
  Deadline::TimePoint since;
};

}  // namespace leasehold
