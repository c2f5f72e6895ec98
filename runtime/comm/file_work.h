// Work on files that the ranks of a group do at the same time: saves, restores, whatever one rank
// does while the others wait. A collective has a deadline; files have none. Each rank's part runs
// on a thread of its own, while the calling threads meet in short rounds and see whether every part
// still moves: hours are fine while bytes move, and a part that does not move for `stall_s` is
// given up by all ranks together.
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
  std::shared_ptr<std::atomic<int64_t>> counter;  // of movements, as FileProgress; may be null
};

class FileWork {
 public:
  // One rank's part, with files that are watched. It may be left behind when it hangs, and then
  // outlives the call: what it refers to must be its own (captured by value or shared), except for
  // memory that it reads or fills between two file operations, which is not touched any more once
  // the work has been given up.
  using Part = std::function<Status(FileSystem& files)>;

  // `files` must outlive every part, also those that are left behind.
  FileWork(FileSystem& files, FileWorkLimits limits);
  // Never waits; a part that was left behind stays behind.
  ~FileWork();
  FileWork(const FileWork&) = delete;
  FileWork& operator=(const FileWork&) = delete;

  // Collective over `group` (of host memory); `what` says what it is for ("the save of step 5").
  // Runs every rank's part; an empty one means that this rank only waits. The same outcome on every
  // rank: ok when all parts are, otherwise the failure of the first that failed, prefixed by its
  // rank and node on the others. When one fails the others are stopped between two operations.
  // - kStorage, naming rank, node, file, and bytes: a part has not moved for stall_s, or one that
  //   was left behind earlier on this object has not come back yet;
  // - kUnavailable: a peer is lost, and the group aborted.
  Status together(Communicator& group, Stream& stream, const std::string& what, Part part);
  // The same with a part on rank 0 alone.
  Status on_rank_0(Communicator& group, Stream& stream, const std::string& what, Part part);

  // The deadline of a collective that begins now.
  Deadline deadline() const { return after_group_timeout(limits_.timeout_s); }
  const FileWorkLimits& limits() const { return limits_; }
  // False while a part of this rank that was left behind has not come back.
  bool idle() const;
  // Ends what is under way soon, and everything later at once. From any thread.
  void stop(const Status& reason);
  // Bytes that this rank's parts have moved so far. From any thread.
  int64_t bytes_moved() const;

 private:
  class Run;

  Result<std::shared_ptr<Run>> begin(const std::string& what, Part part);
  void leave_run(const std::shared_ptr<Run>& run);
  Status stop_reason() const;

  FileSystem& files_;
  FileWorkLimits limits_;
  mutable std::mutex mutex_;
  Status stop_reason_;
  std::shared_ptr<Run> run_;  // under way, or left behind
  int64_t bytes_before_ = 0;  // of runs that have ended
};

// Decides from what all ranks see, so that all decide alike. Pure.
struct FileRound {
  // The maximum over ranks of each. `failed` and `stalled` are size - rank of a rank of which that
  // is true, 0 of the others: the largest names the lowest rank.
  double working = 0;
  double failed = 0;
  double stalled = 0;
};
enum class FileRoundVerdict { kGoOn, kAllDone, kGiveUp };
FileRoundVerdict judge(const FileRound& seen);

// Counts for how long work has not moved, from looks at it. A look that comes late (the process was
// stopped, the machine asleep) counts as kLongestLookS. Pure.
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

}  // namespace leasehold
