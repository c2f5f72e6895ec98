// Moves the operations of `mpi`. All data travels in non-blocking messages on one MPI communicator.
// MPI is called only under the progress mutex (MPI_THREAD_SERIALIZED): by the threads that wait for
// an operation, and by the engine's own thread while nobody waits. So pipeline and data traffic
// cannot block each other, every operation can be given up, and a blocking caller pays for no
// switch between threads.
//
// Mutexes, in this order: progress (MPI and running operations), state (what callers see). Callers
// of operations take only the state mutex.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mpi.h>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "collectives/mpi_lag.h"
#include "collectives/mpi_operation.h"
#include "collectives/rounds.h"

namespace leasehold {

struct MpiEngineOptions {
  double timeout_s = 300;
  double answer_limit_s = 2;
  RoundLimits limits;
};

class MpiEngine : private MpiLagListener {
 public:
  // Takes two communicators over the same ranks. They belong to the engine; nobody may free them
  // while it lives.
  MpiEngine(MPI_Comm data, MPI_Comm side, int world_rank, const MpiEngineOptions& options);
  ~MpiEngine() override;
  Status start();
  // Ends the thread and the side channel. No operation may be under way unless the engine has
  // failed.
  void stop();

  const MpiEngineOptions& options() const { return options_; }
  std::unique_lock<std::mutex> lock_mpi() { return std::unique_lock(progress_mutex_); }
  // Announces that this machine runs more ranks than cores: waiting threads yield at once.
  void set_oversubscribed() { oversubscribed_ = true; }
  // Sets the place where each rank of the world runs, for messages.
  void set_places(std::vector<std::string> places);

  // Adds a group of these world ranks; every member adds it with the same channel.
  MpiGroup& add_group(const std::string& name, int channel, std::vector<int> world_ranks);
  int next_channel() const { return next_channel_; }
  void set_next_channel(int channel) { next_channel_ = channel; }
  Status check_channel(int channel) const;
  // Removes the group's communicator: its operations can no longer complete.
  void leave(MpiGroup& group);

  // Returns an operation to fill in and then to issue. Its place in the order of the group is that
  // of issue(). It starts after stream_reached().
  std::shared_ptr<MpiOperation> acquire(MpiGroup& group);
  void issue(MpiOperation& operation);
  void stream_reached(MpiOperation& operation, const Status& stream_status);

  Status wait(const MpiOperation& operation, uint64_t ticket, Deadline deadline);
  // Tries to make progress, then returns whether the operation is done.
  bool ready(const MpiOperation& operation);
  Status health(const MpiGroup& group) const;
  double busy_s(const MpiGroup& group) const;
  void abort(MpiGroup& group, const Status& reason);
  // Implement ReportingGroup.
  void set_report_source(MpiGroup& group, ReportSource* source);
  std::vector<ReportAnswer> ask_members(const MpiGroup& group, double limit_s);
  std::string describe_member(const MpiGroup& group, int rank);

 private:
  class Backoff;
  struct RequestOwner {
    MpiOperation* operation;
    uint64_t ticket;
    int pipeline;
    int64_t receive_bytes;  // -1 for a send
  };

  // Implement MpiLagListener, under the progress mutex.
  GroupReport report(int channel) override;
  void peer_gave_up(int channel, int world_rank, const std::string& reason) override;

  // Makes progress, under the progress mutex. Returns true if something moved.
  bool progress();
  // Makes progress unless another thread holds the mutex.
  bool try_progress();
  void start_what_may();
  MpiOperation* next_to_start(MpiGroup& group);
  void start_operation(MpiOperation& operation);
  Status run_pipeline(MpiOperation& operation, int pipeline);
  Status post(MpiOperation& operation, int pipeline);
  // Returns the tag of a message. A tag names group and pipeline, and checks that the ranks agree
  // on operation and size: messages that differ do not match, and miss their deadline. (Open MPI
  // 4.1 overruns the buffer if a longer message matches.)
  int tag_of(const MpiOperation& operation, int pipeline, int64_t size_bytes) const;
  bool test_requests();
  Status check_message(const RequestOwner& owner, MPI_Status& status) const;
  void message_done(const RequestOwner& owner, MPI_Status& status);
  void finish(MpiOperation& operation, const Status& status);
  void finish_locked(MpiOperation& operation, const Status& status);
  void watch_deadlines(Deadline::TimePoint now);
  void fail_everything(const Status& reason);
  Status describe_lag(const MpiOperation& operation);
  std::string describe_rank(const MpiGroup& group, int rank) const;
  void abort_progressing(MpiGroup& group, const Status& reason, bool tell);
  // Stops MPI from using the operation's memory; false if that fails.
  bool withdraw(MpiOperation& operation);

  void wake_thread_if_asleep();
  void thread_main();

  MPI_Comm data_;
  int world_rank_;
  MpiEngineOptions options_;
  std::atomic<bool> oversubscribed_{false};
  std::vector<std::string> places_;
  int next_channel_ = 0;
  int max_tag_ = 32767;
  int check_bits_ = 0;  // bits of the check in a tag

  mutable std::mutex progress_mutex_;
  MpiLag lag_;
  std::vector<std::unique_ptr<MpiGroup>> groups_;  // grows under both mutexes
  std::vector<MPI_Request> requests_;
  std::vector<RequestOwner> owners_;
  std::vector<int> indices_;
  std::vector<MPI_Status> statuses_;
  std::vector<RequestOwner> completed_;
  std::vector<MpiOperation*> running_;
  Deadline::TimePoint side_polled_at_;
  MpiOperation* asked_about_ = nullptr;  // the operation that missed its deadline
  Deadline::TimePoint asked_until_;
  bool asked_from_outside_ = false;  // the side channel carries a question of ask_members
  // Set after a failure that left messages under way: MPI is not called any more.
  bool silent_ = false;

  mutable std::mutex state_mutex_;
  // An operation is done, or the waiting thread should look again.
  std::condition_variable changed_;
  std::condition_variable wake_;  // wakes the thread
  bool thread_asleep_ = false;
  bool stop_ = false;
  std::atomic<bool> arrived_{false};   // an operation may be ready to start
  std::atomic<int> num_waiting_{0};    // threads that make progress themselves
  std::atomic<int> num_under_way_{0};  // operations that may start or run
  std::thread thread_;
};

}  // namespace leasehold
