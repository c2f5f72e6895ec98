// Ranks as threads of one process, on which most distributed tests run. Sums are in rank order.
// Tests can inject faults and delays. So they can check in milliseconds how other ranks react when
// a rank dies, freezes or sends a wrong bit.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "runtime/comm/communicator.h"

namespace leasehold {

struct ThreadFault {
  enum class Kind {
    // The rank's call throws RankGone. Every group with the rank fails at once and names it.
    kDie,
    // The rank's call blocks until thaw(), then throws RankGone. Other ranks reach their timeout.
    kFreeze,
    // One bit of the data that the rank receives is wrong (for a send: of the data its peer
    // receives).
    kFlipBit,
  };
  Kind kind = Kind::kDie;
  int rank = 0;  // of the world
  // Counted from 0 over all groups of the rank, in the order of its calls. A split counts.
  int64_t operation = 0;
};

struct ThreadWorldOptions {
  double timeout_s = 30;
  // Unless 0: operations start and take effect late, on another thread, by up to some hundred
  // microseconds drawn from this seed. A missing wait then shows as a wrong result.
  uint64_t delay_seed = 0;
  // Unless 0: every operation takes this long after all ranks have joined, on another thread. The
  // operations of a group run one after another, as on a slow network.
  double operation_s = 0;
  std::vector<ThreadFault> faults;
};

// Thrown out of a rank's call by an injected fault. It is not a std::exception, so that only
// run_ranks catches it.
struct RankGone {
  int rank = 0;
};

class ThreadWorld {
 public:
  static std::unique_ptr<ThreadWorld> create(int size, const ThreadWorldOptions& options);
  virtual ~ThreadWorld() = default;

  // Returns the world group as seen by `rank`, for that rank's thread. Its operations' streams are
  // CPU streams. Groups made by split(), and streams on which operations were issued or which wait
  // for them, must be destroyed before the world.
  virtual Communicator& communicator(int rank) = 0;
  // Lets frozen ranks continue, to throw RankGone.
  virtual void thaw() = 0;
};

// Runs `body` on `size` threads, one per rank, and joins them. A rank that throws is lost: its
// peers' operations fail at once. Rethrows the first exception, except RankGone. Thaws frozen ranks
// when the others are done.
void run_ranks(int size, const ThreadWorldOptions& options,
               const std::function<void(Communicator&)>& body);

}  // namespace leasehold
