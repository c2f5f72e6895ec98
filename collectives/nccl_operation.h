// Inside `nccl`: an operation under way, and the NCCL communicator that performs it.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <nccl.h>
#include <vector>

#include "collectives/operation.h"
#include "runtime/device/cuda_stream.h"

namespace leasehold {

class NcclGroup;
struct NcclChannel;

class NcclOperation : public WorkState {
 public:
  // `group` keeps what the operation needs alive, also after the communicator is gone.
  explicit NcclOperation(std::shared_ptr<NcclGroup> owner) : group(std::move(owner)) {}
  void then(Stream& stream) override;
  bool ready() const override;
  Status wait(Deadline deadline) override;

  enum class State {
    kQueued,   // its channel is not there yet
    kIssuing,  // being handed to NCCL, which may have to connect its ranks first
    kIssued,   // `done` is recorded behind it
    kDone,     // with `status`
  };

  const std::shared_ptr<NcclGroup> group;
  std::unique_ptr<Event> reached;  // recorded on the caller's stream: what the operation waits for
  std::unique_ptr<Event> done;     // recorded on the channel's stream
  std::unique_ptr<Event> begun;    // before a collective's part there; null: is not measured

  // Set when issued.
  OperationSummary summary;
  int rank = 0;          // of the group
  int64_t sequence = 0;  // among the group's collectives, or among the messages of one rank to one
  Tensor input, output;
  std::vector<Tensor> sends, receives;  // all_to_all
  NcclChannel* channel = nullptr;
  // What NCCL is given for `input`, `output` and their type, by begin_operation().
  const void* from = nullptr;
  void* to = nullptr;
  ncclDataType_t type = ncclUint8;

  // Guarded by the group's mutex.
  State state = State::kDone;
  Status status;
  bool started = false;  // everything before it is done
  Deadline::TimePoint started_at;
};

// One NCCL communicator with a stream of its own, on which operations run in the order of issue
// whatever the callers' streams. A failed stream tells its failure to those that waited for it.
struct NcclChannel {
  // Held while NCCL is called for `comm`, whose functions are not to be called by two threads.
  std::mutex call_mutex;
  std::atomic<ncclComm_t> comm{nullptr};  // null: not there yet, or given up
  std::unique_ptr<Stream> stream;
  int messages_per_call = 0;        // the most that one call of NCCL holds
  bool is_ending = false;           // of the watch
  std::unique_ptr<Memory> scratch;  // of begin_operation(); grows
  // Issued and not known to be done, in order. Guarded by the group's mutex.
  std::vector<std::shared_ptr<NcclOperation>> in_flight;
};

// An operation is enqueued on its channel's stream in three parts. What comes before NCCL's: the
// rank's message to itself; numbers made integers, for NCCL's maximum and minimum lose NaN.
Status begin_operation(NcclOperation& operation, NcclChannel& channel);
// Hands it to NCCL and returns when it is enqueued. Blocks while NCCL connects ranks that have not
// had an operation of the kind, until all of them issue theirs or the communicator is aborted.
Status launch(const NcclOperation& operation, NcclChannel& channel);
// What comes after NCCL's part.
Status end_operation(const NcclOperation& operation, NcclChannel& channel);

}  // namespace leasehold
