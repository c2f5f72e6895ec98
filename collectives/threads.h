// Ranks as threads of one process: what most distributed tests run on. Sums are in rank order.
// Faults and delays can be injected, so that what happens to others when a rank dies, freezes or
// sends a wrong bit can be tested in milliseconds.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "runtime/comm/communicator.h"

namespace leasehold {

struct ThreadFault {
  enum class Kind {
    kDie,  // the rank's call throws RankGone; every group that it belongs to fails at once, naming
           // it
    kFreeze,   // the rank's call blocks until thaw(), then throws RankGone; the others meet their
               // timeout
    kFlipBit,  // one bit of what the operation delivers to the rank is wrong (of a send: to its
               // peer)
  };
  Kind kind = Kind::kDie;
  int rank = 0;  // of the world
  int64_t operation =
      0;  // counted from 0 over all groups of that rank, in the order of its calls; a split counts
};

struct ThreadWorldOptions {
  double timeout_s = 30;
  // Not 0: operations start and take effect late, by up to some hundred microseconds drawn from
  // this seed, on another thread; a missing wait shows as a wrong result.
  uint64_t delay_seed = 0;
  // Not 0: every operation takes this long once all ranks have come, on another thread; those of a
  // group one after another, as on a slow network.
  double operation_s = 0;
  std::vector<ThreadFault> faults;
};

// Thrown out of a rank's call by an injected fault. No std::exception, so that nothing but
// run_ranks catches it.
struct RankGone {
  int rank = 0;
};

class ThreadWorld {
 public:
  static std::unique_ptr<ThreadWorld> create(int size, const ThreadWorldOptions& options);
  virtual ~ThreadWorld() = default;

  // The world group as seen by `rank`; for that rank's thread. Its operations' streams are CPU
  // streams. What split made of it, and streams that its operations were issued on or that wait for
  // them, must end before the world does.
  virtual Communicator& communicator(int rank) = 0;
  // Lets frozen ranks go on to throw RankGone.
  virtual void thaw() = 0;
};

// Runs body on `size` threads, one per rank, and joins them. A rank that throws is a rank lost: its
// peers' operations fail at once. Rethrows what was thrown first, RankGone excepted; frozen ranks
// are thawed when the others are done.
void run_ranks(int size, const ThreadWorldOptions& options,
               const std::function<void(Communicator&)>& body);

}  // namespace leasehold
