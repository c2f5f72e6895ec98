// The state that the groups of one `threads` world share: the options, the fates of ranks, and the
// mover thread that delays operations.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "collectives/operation.h"
#include "collectives/threads.h"
#include "runtime/base/random.h"

namespace leasehold {

class ThreadGroup;
class ThreadOperation;
struct Rendezvous;

class ThreadWorldState {
 public:
  ThreadWorldState(int size, const ThreadWorldOptions& options);
  ~ThreadWorldState();

  const ThreadWorldOptions& options() const { return options_; }
  void register_group(const std::shared_ptr<ThreadGroup>& group);

  // Keeps the operations of a destroyed communicator: streams may still wait for them.
  void retire(std::vector<std::shared_ptr<ThreadOperation>> operations);

  // Counts a call of an operation by a rank, and injects its faults. Returns true if a bit must be
  // flipped.
  bool on_call(int rank, const OperationSummary& summary);
  // Sleeps for a drawn time before an operation joins.
  void dawdle();
  // Performs the rendezvous now, or later if there are delays.
  void perform_soon(ThreadGroup& group, Rendezvous& rendezvous);

  // Returns "" while the rank is alive, otherwise "died at ...", "does not answer ...", "has
  // ended".
  std::string fate(int rank);
  void mark_ended(int rank);
  // Makes every group with `rank` fail.
  void abort_groups_of(int rank, const Status& reason);
  void thaw();
  // Blocks until every rank has ended or is frozen. Each rank of run_ranks ends.
  void wait_until_still();

 private:
  struct Moving {
    ThreadGroup* group;
    Rendezvous* rendezvous;
    Deadline::TimePoint due;
  };
  void freeze(int rank, const OperationSummary& summary);
  double draw_delay_s();
  // Returns true if the mover delays operations.
  bool is_slow() const { return options_.delay_seed != 0 || options_.operation_s > 0; }
  void mover_main();

  ThreadWorldOptions options_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<int64_t> num_calls_;
  std::vector<std::string> fates_;
  std::vector<bool> still_;  // ended or frozen
  bool thawed_ = false;
  std::vector<std::weak_ptr<ThreadGroup>> groups_;
  std::vector<std::shared_ptr<ThreadOperation>> retired_;
  RandomSite delays_;
  uint64_t num_delays_ = 0;
  std::vector<Moving> moving_;
  bool stop_ = false;
  std::thread mover_;  // last: it uses everything above
};

}  // namespace leasehold
