// The shared state of a group of `threads`, where ranks meet. An operation joins its rendezvous
// when its stream has reached it. The last rank to join moves the data. With delays, the world's
// mover does so later.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "collectives/group_reports.h"
#include "runtime/device/cpu_stream.h"

namespace leasehold {

class ThreadGroup;
class ThreadWorldState;

// One rank's part in an operation. The group's mutex guards the fields, except that the thread that
// moves the data of a full rendezvous reads the tensors without it.
class ThreadOperation : public WorkState,
                        public Waitable,
                        public std::enable_shared_from_this<ThreadOperation> {
 public:
  explicit ThreadOperation(std::shared_ptr<ThreadGroup> owner) : group(std::move(owner)) {}
  void then(Stream& stream) override;
  bool ready() const override;
  Status wait(Deadline deadline) override;
  Status wait_for(uint64_t awaited, Deadline deadline) const override;

  std::shared_ptr<ThreadGroup> group;
  uint64_t ticket = 0;  // number of uses of this object
  uint64_t done = 0;    // the newest ticket that is done
  Status status;        // of ticket `done`
  bool joined = false;
  bool matched = false;  // every rank has joined
  Deadline::TimePoint joined_at;

  int rank = 0;
  // Among the rank's collectives, or among the messages from one rank to another.
  int64_t sequence = 0;
  OperationSummary summary;
  Tensor input, output;
  std::vector<Tensor> sends, receives;  // all_to_all
  bool flip_bit = false;
  int color = 0, key = 0;  // split ...
  std::string split_name;
  std::shared_ptr<ThreadGroup> split_group;  // ... and its result
  int split_rank = -1;
};

// The meeting place of the ranks of one operation.
struct Rendezvous {
  int from = -1, to = -1;  // point to point; -1 for collectives
  int64_t sequence = 0;
  size_t num_joined = 0;
  std::vector<std::shared_ptr<ThreadOperation>> parts;  // by rank; point to point: sender, receiver

  void clear();
};

// Copies and sums the data of a full rendezvous. kInternal if the sizes of an all_to_all do not
// fit.
Status move_data(const Rendezvous& rendezvous);

class ThreadGroup : public std::enable_shared_from_this<ThreadGroup> {
 public:
  ThreadGroup(ThreadWorldState& world, std::string name, std::vector<int> world_ranks);

  const std::string& name() const { return name_; }
  int size() const { return static_cast<int>(world_ranks_.size()); }
  int world_rank(int rank) const { return world_ranks_[static_cast<size_t>(rank)]; }
  bool contains(int world_rank) const;
  ThreadWorldState& world() const { return world_; }
  std::mutex& mutex() { return mutex_; }

  // Joins the operation to its rendezvous once its stream has reached it; `stream_status` is the
  // stream's failure or ok.
  void join(ThreadOperation& operation, const Status& stream_status);
  // Moves the data of a full rendezvous and completes its operations.
  void perform(Rendezvous& rendezvous);
  bool ready(const ThreadOperation& operation);
  Status wait(const ThreadOperation& operation, uint64_t ticket, Deadline deadline);
  void abort(const Status& reason);
  Status health();
  // Implements Communicator::busy_s for one rank.
  double busy_s(int rank);
  // Implement ReportingGroup for one rank.
  void set_report_source(int rank, ReportSource* source);
  std::vector<ReportAnswer> ask_members();

 private:
  Rendezvous& find_or_add(const ThreadOperation& operation);
  // Returns ok, or how the operation differs from the other ranks' operations.
  Status check_agreement(const Rendezvous& rendezvous, const ThreadOperation& operation) const;
  void note_performed(const Rendezvous& rendezvous);  // mutex_ held
  void make_split_groups(Rendezvous& rendezvous);
  void finish(ThreadOperation& operation, const Status& status);
  void abort_locked(const Status& reason);
  Status describe_lag(const ThreadOperation& operation);
  std::string describe_rank(int rank) const;

  ThreadWorldState& world_;
  std::string name_;
  std::vector<int> world_ranks_;
  std::mutex mutex_;
  std::condition_variable changed_;
  Status failure_;
  std::vector<std::unique_ptr<Rendezvous>> active_, moving_, free_;
  int64_t num_performed_ = 0;  // number of collectives; they take effect in the order of issue
  Deadline::TimePoint performed_at_;  // time of the newest of them
  std::vector<double> busy_s_;        // by rank
  struct Newest {
    bool any = false;
    int64_t sequence = 0;
    OperationSummary summary;
  };
  std::vector<Newest> newest_;          // by rank: the operation that it joined last
  std::mutex sources_mutex_;            // held while sources are asked; taken alone
  std::vector<ReportSource*> sources_;  // by rank
};

}  // namespace leasehold
