// An operation of `mpi` under way and the group that it belongs to, on this rank.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "collectives/mpi_lag.h"
#include "collectives/rounds.h"
#include "runtime/device/cpu_stream.h"

namespace leasehold {

class MpiEngine;
struct MpiGroup;

class MpiOperation : public WorkState, public Waitable {
 public:
  explicit MpiOperation(MpiGroup& owner) : group(owner) {}
  void then(Stream& stream) override;
  bool ready() const override;
  Status wait(Deadline deadline) override;
  Status wait_for(uint64_t awaited, Deadline deadline) const override;

  MpiGroup& group;
  std::atomic<uint64_t> ticket{0};  // number of uses of this object
  std::atomic<uint64_t> done{0};    // the newest ticket that is done

  // Set when issued.
  OperationSummary summary;
  // Among the group's collectives, or among the messages from one rank to another.
  int64_t sequence = 0;
  RoundsCall call;
  std::vector<Tensor> sends, receives;  // storage for the call's spans

  // Guarded by the engine's state mutex.
  Status status;                 // of ticket `done`
  bool awaits_stream = false;    // the stream on which it was issued still refers to it
  bool may_start = false;        // the stream has reached it
  MpiOperation* next = nullptr;  // in the order of issue

  // Guarded by the engine's progress mutex.
  struct Pipeline {
    RoundCursor cursor;
    Round round;
    int num_pending = 0;  // pending messages of the round
  };
  RoundsPlan plan;
  std::vector<Pipeline> pipelines;
  int num_running = 0;  // running pipelines
  Deadline::TimePoint started_at;
};

// Lives until the engine ends: streams may wait for its operations after the communicator is
// destroyed.
struct MpiGroup {
  MpiEngine* engine = nullptr;
  std::string name;
  int channel = 0;  // part of its tags; equal on all members
  int rank = 0;
  std::vector<int> world_ranks;

  // Guarded by the engine's state mutex.
  Status failure;
  MpiOperation* head = nullptr;  // issued but not started, in order
  MpiOperation* tail = nullptr;
  int64_t num_collectives = 0;                  // number issued
  std::vector<int64_t> num_sent, num_received;  // numbers issued, by peer
  double busy_s = 0;                            // see Communicator
  std::vector<std::shared_ptr<MpiOperation>> operations;

  // Guarded by the engine's progress mutex.
  MpiOperation* collective = nullptr;  // the running one
  GroupReport report;
  ReportSource* report_source = nullptr;  // answers instead of `report`, unless null
  Deadline::TimePoint newest_at;
  std::vector<char> scratch;
};

}  // namespace leasehold
