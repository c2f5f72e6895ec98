// Inside `nccl`: messages from one rank to another. NCCL runs the operations of a communicator one
// after another on each rank, so a receive that waits for its sender would hold up sends to others,
// and ranks that all send first would wait for each other for ever. Therefore each direction
// between two ranks is a lane: a communicator of those two with a stream of its own. A lane is made
// when the first message between the two is issued (both directions at once, so that it does not
// matter who sends first), by the watch thread and without blocking anyone; messages queue until
// then.
#pragma once

#include <memory>
#include <vector>

#include "collectives/nccl_operation.h"
#include "runtime/comm/communicator.h"

namespace leasehold {

struct NcclLane {
  enum class Stage {
    kExchanging,  // the id travels from the sender to the receiver
    kMaking,      // NCCL makes the communicator
    kConnecting,  // a first byte is being issued: NCCL connects when both ends have a message
    kProving,     // ... is under way
    kReady,
  };

  int peer = 0;
  bool outgoing = false;
  NcclChannel channel;
  // Guarded by channel.call_mutex.
  Stage stage = Stage::kExchanging;
  std::vector<std::shared_ptr<NcclOperation>> queue;
  // Of the watch thread.
  ncclUniqueId id{};
  Work exchange;
  std::unique_ptr<Event> proof;
  Deadline::TimePoint since;
};

}  // namespace leasehold
