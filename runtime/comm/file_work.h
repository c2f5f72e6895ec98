// Work on files that the ranks of a group do at the same time: saves, restores, or work of one rank
// while the others wait. A collective has a deadline; files have none. So each rank's part runs on
// a thread of its own, while the calling threads meet in short rounds and check that every part
// still moves. A part may take hours while bytes move; if a part does not move for `stall_s`, all
// ranks give it up together.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "runtime/base/watched_files.h"
#include "runtime/comm/communicator.h"

namespace leasehold {

struct FileWorkLimits {
  double timeout_s = 300;  // of one collective
  double stall_s = 600;    // without any movement, after which a part is given up
  std::string node;        // where this rank runs, for messages
  std::shared_ptr<std::atomic<int64_t>> counter;  // of movements, see FileProgress; may be null
};

// Measures for how long work has not moved, from occasional looks at it. A late look (the process
// was stopped, the machine asleep) counts as kLongestLookS. Pure.
class StillWatch {
 public:
  static constexpr double kLongestLookS = 2;
  void look(int64_t num_moves, double now_s);
  double still_s() const { return still_s_; }

 private:
  int64_t num_moves_ = -1;
  double looked_s_ = 0;
  double still_s_ = 0;
};

class FileWork {
 public:
  // One rank's part, which works on watched files. A part that hangs is abandoned and then outlives
  // the call. So it must own what it refers to (captured by value or shared). The exception is
  // memory that it reads or fills between two file operations: after the work is given up, the part
  // no longer touches such memory.
  using Part = std::function<Status(FileSystem& files)>;

  // Takes files that must outlive every part, abandoned parts too.
  FileWork(FileSystem& files, FileWorkLimits limits);
  // Never waits; an abandoned part keeps running.
  ~FileWork();
  FileWork(const FileWork&) = delete;
  FileWork& operator=(const FileWork&) = delete;

  // Runs every rank's part. Collective over `group` (of host memory); `what` says what the work is
  // for ("the save of step 5"). A rank with an empty part only waits. The outcome is the same on
  // every rank: ok if all parts succeed, otherwise the failure of the first part that failed,
  // prefixed by its rank and node on the other ranks. If one part fails, the others are stopped
  // between two operations.
  // - kStorage, naming rank, node, file and bytes: a part has not moved for stall_s, or a part
  //   abandoned earlier by this object has not returned yet;
  // - kUnavailable: a peer is lost, and the group is aborted.
  Status together(Communicator& group, Stream& stream, const std::string& what, Part part);
  // Runs a part on rank 0 alone, in the same way.
  Status on_rank_0(Communicator& group, Stream& stream, const std::string& what, Part part);
  // Collective. Waits for parts that were left behind, as for parts of its own: kStorage, naming
  // rank, node and file, when one still hangs after stall_s. What they came to does not count.
  Status await_left_behind(Communicator& group, Stream& stream, const std::string& what);

  // Returns the deadline of a collective that begins now.
  Deadline deadline() const { return after_group_timeout(limits_.timeout_s); }
  const FileWorkLimits& limits() const { return limits_; }
  // Returns false while an abandoned part of this rank has not returned.
  bool idle() const;
  // Ends the work under way soon, and all later work at once. Callable from any thread.
  void stop(const Status& reason);
  // Returns the bytes that this rank's parts have moved so far. Callable from any thread.
  int64_t bytes_moved() const;

 private:
  class Run;

  // This rank in the rounds of one piece of work.
  struct Member {
    std::shared_ptr<Run> run;     // null: it only waits
    bool is_left_behind = false;  // `run`, before these rounds
    Status status;
    StillWatch watch;
  };
  Result<std::shared_ptr<Run>> begin(const std::string& what, Part part);
  Status meet(Communicator& group, Stream& stream, const std::string& what, Member member);
  // Waits a little; true when the run has ended. Sets `stalled`, and the status of either.
  bool look(const std::string& what, double elapsed_s, Member& member, bool& stalled) const;
  void leave_run(const std::shared_ptr<Run>& run);
  Status stop_reason() const;

  FileSystem& files_;
  FileWorkLimits limits_;
  mutable std::mutex mutex_;
  Status stop_reason_;
  std::shared_ptr<Run> run_;  // under way, or abandoned
  int64_t bytes_before_ = 0;  // of runs that have ended
};

// Decides from values that all ranks see, so that all ranks decide alike. Pure.
struct FileRound {
  // Each is the maximum over ranks. A rank that failed or stalled contributes size - rank, any
  // other rank 0: so the largest value names the lowest rank.
  double working = 0;
  double failed = 0;
  double stalled = 0;
};
enum class FileRoundVerdict { kGoOn, kAllDone, kGiveUp };
FileRoundVerdict judge(const FileRound& seen);

}  // namespace leasehold
