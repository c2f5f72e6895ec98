#include "collectives/nccl_lane.h"

#include <chrono>

#include "collectives/nccl_calls.h"
#include "collectives/nccl_group.h"
#include "runtime/base/check.h"
#include "runtime/device/cuda_event.h"

namespace leasehold {

namespace {

using Steady = std::chrono::steady_clock;
using Stage = NcclLane::Stage;

}  // namespace

// Both directions begin together, on both ranks with whatever message comes first there.
NcclLane& NcclGroup::lane_to(int peer, bool outgoing) {
  const auto place = [&](bool sends) { return 2 * static_cast<size_t>(peer) + (sends ? 1 : 0); };
  if (lanes_[place(outgoing)] == nullptr) {
    for (const bool sends : {false, true}) {
      auto lane = std::make_unique<NcclLane>();
      lane->peer = peer;
      lane->outgoing = sends;
      lane->since = Steady::now();
      const Status begun = begin_lane(*lane);
      {
        std::lock_guard lock(mutex_);
        lanes_[place(sends)] = std::move(lane);
      }
      if (!begun.ok()) give_up(begun.annotated(name_));
    }
  }
  return *lanes_[place(outgoing)];
}

Status NcclGroup::begin_lane(NcclLane& lane) {
  const std::string name = fmt::format("nccl {}, {} rank {}", name_,
                                       lane.outgoing ? "messages to" : "messages from", lane.peer);
  LEASEHOLD_ASSIGN_OR_RETURN(lane.channel.stream, CudaStream::create(context_, name));
  LEASEHOLD_ASSIGN_OR_RETURN(lane.proof, CudaEvent::create(context_));
  const Tensor id(lane.id.internal, DType::kU8, {NCCL_UNIQUE_ID_BYTES});
  if (lane.outgoing) {
    LEASEHOLD_RETURN_IF_ERROR(nccl_status(ncclGetUniqueId(&lane.id), "ncclGetUniqueId"));
    lane.exchange = host_->send(id, lane.peer, *host_stream_);
  } else {
    lane.exchange = host_->receive(id, lane.peer, *host_stream_);
  }
  return ok_status();
}

void NcclGroup::submit(NcclLane& lane, const std::shared_ptr<NcclOperation>& operation) {
  Status status;
  {
    std::lock_guard calls(lane.channel.call_mutex);
    if (lane.stage == Stage::kReady) {
      status = issue_locked(lane.channel, operation);
    } else {
      std::lock_guard lock(mutex_);
      if (failure_.ok()) {
        lane.queue.push_back(operation);
      } else {
        finish(*operation, failure_);
      }
    }
  }
  if (!status.ok()) give_up(status);
}

bool NcclGroup::advance(NcclLane& lane) {
  Status status;
  bool ready = false;
  {
    std::unique_lock calls(lane.channel.call_mutex, std::try_to_lock);
    if (!calls.owns_lock()) return true;
    if (lane.stage == Stage::kReady) return false;
    status = advance_locked(lane);
    ready = lane.stage == Stage::kReady;
  }
  const std::string what =
      fmt::format("{}: connecting to {}", name_, reporting_->describe_member(lane.peer));
  if (!status.ok()) {
    give_up(status.annotated(what));
  } else if (!ready &&
             std::chrono::duration<double>(Steady::now() - lane.since).count() > timeout_s_) {
    // The peer has not issued its first message to or from this rank.
    NcclOperation late(nullptr);
    late.state = NcclOperation::State::kQueued;
    late.summary = {.kind = lane.outgoing ? OperationKind::kSend : OperationKind::kReceive,
                    .peer = lane.peer,
                    .elements = 0};
    {
      std::lock_guard lock(mutex_);
      if (!lane.queue.empty()) {
        late.summary = lane.queue.front()->summary;
        late.sequence = lane.queue.front()->sequence;
      }
    }
    give_up_late(late);
  }
  return true;
}

Status NcclGroup::advance_locked(NcclLane& lane) {
  const auto state_of = [&](const char* what) -> Result<bool> {  // whether NCCL is through with it
    ncclResult_t state = ncclSuccess;
    LEASEHOLD_RETURN_IF_ERROR(
        nccl_status(ncclCommGetAsyncError(lane.channel.comm, &state), "ncclCommGetAsyncError"));
    LEASEHOLD_RETURN_IF_ERROR(nccl_status(state, what));
    return state == ncclSuccess;
  };
  CudaStream& stream = CudaStream::from(*lane.channel.stream);
  switch (lane.stage) {
    case Stage::kExchanging: {
      if (!lane.exchange.ready()) return ok_status();
      LEASEHOLD_RETURN_IF_ERROR(lane.exchange.wait(Deadline::after_s(0)));
      lane.exchange = Work();
      ncclConfig_t config = non_blocking_config(stream.name());
      ncclComm_t comm = nullptr;
      const ncclResult_t begun =
          ncclCommInitRankConfig(&comm, 2, lane.id, lane.outgoing ? 0 : 1, &config);
      lane.channel.comm = comm;
      LEASEHOLD_RETURN_IF_ERROR(nccl_status(begun, "ncclCommInitRankConfig"));
      lane.stage = Stage::kMaking;
      return ok_status();
    }
    case Stage::kMaking: {
      LEASEHOLD_ASSIGN_OR_RETURN(const bool made, state_of("making the communicator"));
      if (!made) return ok_status();
      Status sent;
      stream.enqueue([&](cudaStream_t handle) {
        void* byte = first_byte_->data();
        const ncclResult_t result =
            lane.outgoing ? ncclSend(byte, 1, ncclUint8, 1, lane.channel.comm, handle)
                          : ncclRecv(byte, 1, ncclUint8, 0, lane.channel.comm, handle);
        sent = nccl_status(result, lane.outgoing ? "ncclSend" : "ncclRecv");
      });
      LEASEHOLD_RETURN_IF_ERROR(sent);
      lane.stage = Stage::kConnecting;
      return stream.failure();
    }
    case Stage::kConnecting: {
      LEASEHOLD_ASSIGN_OR_RETURN(const bool connected, state_of("connecting"));
      if (!connected) return ok_status();
      stream.record(*lane.proof);
      lane.stage = Stage::kProving;
      return stream.failure();
    }
    case Stage::kProving: {
      if (!lane.proof->ready()) return ok_status();
      LEASEHOLD_RETURN_IF_ERROR(lane.proof->wait(Deadline::after_s(0)));
      lane.stage = Stage::kReady;
      std::vector<std::shared_ptr<NcclOperation>> queue;
      {
        std::lock_guard lock(mutex_);
        queue.swap(lane.queue);
      }
      for (const auto& operation : queue)
        LEASEHOLD_RETURN_IF_ERROR(issue_locked(lane.channel, operation));
      return ok_status();
    }
    case Stage::kReady:
      break;
  }
  return ok_status();
}

}  // namespace leasehold
