// Inside `nccl`: a group on this rank: its NCCL communicators, what is under way on them, and how
// it ends. Calls of NCCL return when their work is enqueued, so nobody asks NCCL for each
// operation. A call that connects ranks for the first time blocks until all have come, at most
// until the watch thread (nccl_watch.h), which looks about once a millisecond, gives it up: it
// notices what is done and what is late, NCCL's asynchronous errors and peers that gave up.
//
// The group stands on a private group of host memory with the same ranks, which carries ids, the
// question who lags and the news that a rank gave up. Locks, in this order: a channel's
// call_mutex, the group's mutex; the private group is called with neither.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "collectives/group_reports.h"
#include "collectives/nccl.h"
#include "collectives/nccl_lane.h"
#include "collectives/nccl_operation.h"
#include "runtime/device/cuda_context.h"
#include "runtime/device/cuda_device.h"

namespace leasehold {

// How long peers have to say where they are, once an operation is late.
inline constexpr double kAnswerLimitS = 2;

class NcclGroup : public ReportSource, public std::enable_shared_from_this<NcclGroup> {
 public:
  // Collective over `host`, which it takes.
  static Result<std::shared_ptr<NcclGroup>> create(std::unique_ptr<Communicator> host,
                                                   CudaDevice& device, const std::string& name,
                                                   double timeout_s, const NcclOptions& options);
  ~NcclGroup() override;

  const std::string& name() const { return name_; }
  int rank() const { return rank_; }
  int size() const { return size_; }
  double timeout_s() const { return timeout_s_; }
  GroupUse use() const { return options_.use; }
  // Counts those of NCCL that were made so far.
  int num_communicators() const { return num_communicators_; }
  Communicator& host() { return *host_; }
  // An operation with its events, not issued yet.
  Result<std::shared_ptr<NcclOperation>> make_operation();

  // By the rank's own thread: enqueues the operation, whose fields are filled in.
  void issue(const std::shared_ptr<NcclOperation>& operation, Stream& stream);
  // Of operations.
  bool ready(NcclOperation& operation);
  Status wait(NcclOperation& operation, Deadline deadline);
  Status wait_until_issued(NcclOperation& operation);

  Status health() const;
  // Of Communicator. Operations are measured once it was called.
  double busy_s();
  // From any thread; returns at once, NCCL's own end of it goes on elsewhere. Peers hear of it.
  void give_up(const Status& reason);
  // The communicator is going. What is under way can no longer complete.
  void leave();
  // Ends the private group, once the watch does not look any more.
  void release_host();

  GroupReport report() override;

  // By the watch thread. True when it wants to be looked at again soon.
  bool look();
  // After leave(): ends the NCCL communicators. True when that is done, or never will be.
  bool look_after_leaving();
  // Gives up what look_after_leaving could not end.
  void abandon();

 private:
  // A communicator of NCCL: its size, this rank's place in it, and the most blocks of its kernels.
  struct Making {
    ncclUniqueId id{};
    int size = 0;
    int rank = 0;
    int max_ctas = 0;
  };

  NcclGroup(std::unique_ptr<Communicator> host, std::shared_ptr<CudaContext> context,
            std::string name, double timeout_s, const NcclOptions& options);
  Status connect(CudaDevice& device);
  Status connect_main(Deadline deadline);
  Status connect_neighbours(Deadline deadline);
  Result<ncclUniqueId> exchange_id(Deadline deadline);
  // Blocks until all its ranks have come. On a thread of its own: nothing ends it before.
  Status make_communicator(NcclChannel& channel, const Making& making);
  // Runs the first operation of a communicator, which connects its ranks, and waits for it.
  Status prove(NcclChannel& channel, Event& proof,
               const std::function<ncclResult_t(ncclComm_t, cudaStream_t)>& operation);
  Status prove_main();
  // Waits for `done`, guarded by the mutex.
  Status wait_until_connected(Deadline deadline, const std::function<bool()>& done);
  bool await_own_connection(const std::function<bool()>& done);

  void count(NcclOperation& operation);
  Status make_measured(NcclOperation& operation);
  Status issue_locked(NcclChannel& channel, const std::shared_ptr<NcclOperation>& operation);
  Status hand_over(NcclChannel& channel, NcclOperation& operation);

  NcclLane& lane_to(int peer, bool outgoing);
  Status begin_lane(NcclLane& lane);
  Status connect_lane(NcclLane& lane);
  Status await_exchange(NcclLane& lane);
  Status open_lane(NcclLane& lane);
  void submit(NcclLane& lane, const std::shared_ptr<NcclOperation>& operation);
  // Gives up when the lane's peer has not come in time. True while it is not ready.
  bool look_at(NcclLane& lane);

  std::vector<NcclChannel*> channels();
  void finish(NcclOperation& operation, const Status& status);  // mutex_ held
  void retire(NcclChannel& channel);
  Status find_error(NcclChannel& channel);
  // What misses its deadline; null when nothing does. Starts clocks.
  std::shared_ptr<NcclOperation> find_late(NcclChannel& channel, Deadline::TimePoint now);
  void give_up_late(const NcclOperation& late);
  void mark_started(NcclOperation& operation);  // mutex_ held
  void note_busy(const NcclOperation& done);    // mutex_ held
  void abort_channel(NcclChannel& channel);
  void end_channel(NcclChannel& channel);
  std::string describe_under_way(NcclChannel& channel) const;
  void await_end_of_work(NcclChannel& channel);

  const std::shared_ptr<CudaContext> context_;
  const std::string name_;
  const double timeout_s_;
  const NcclOptions options_;
  int rank_ = 0;
  int size_ = 1;
  std::unique_ptr<Communicator> host_;  // null after leave()
  ReportingGroup* reporting_ = nullptr;
  std::unique_ptr<Stream> host_stream_;
  std::unique_ptr<Memory> first_bytes_;  // what communicators prove themselves with

  NcclChannel main_;  // of collectives

  mutable std::mutex mutex_;
  std::condition_variable changed_;  // an operation is issued or done, or an abort has ended
  Status failure_;
  std::atomic<bool> failed_{false};
  bool is_connected_ = false;                     // for collectives
  std::vector<std::unique_ptr<NcclLane>> lanes_;  // by 2 * peer + outgoing
  std::atomic<int> num_communicators_{0};
  int num_exchanging_ = 0;  // lanes whose id is under way on the private group
  int64_t num_collectives_ = 0;
  std::atomic<bool> measures_{false};
  double busy_s_ = 0;
  std::vector<int64_t> num_sent_, num_received_;  // by peer
  GroupReport report_;
  Deadline::TimePoint newest_at_;
  int num_ending_ = 0;  // threads that end a communicator
};

}  // namespace leasehold
