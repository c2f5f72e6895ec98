#include "collectives/nccl_lane.h"

#include <chrono>
#include <thread>

#include "collectives/nccl_calls.h"
#include "collectives/nccl_group.h"
#include "runtime/base/check.h"
#include "runtime/device/cuda_event.h"

namespace leasehold {

namespace {

using Steady = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kExchangeInterval{1};

}  // namespace

NcclLane& NcclGroup::lane_to(int peer, bool outgoing) {
  const size_t place = 2 * static_cast<size_t>(peer) + (outgoing ? 1 : 0);
  if (lanes_[place] != nullptr) return *lanes_[place];
  auto made = std::make_unique<NcclLane>();
  NcclLane& lane = *made;
  lane.peer = peer;
  lane.outgoing = outgoing;
  lane.since = Steady::now();
  const Status begun = begin_lane(lane);
  {
    std::lock_guard lock(mutex_);
    lanes_[place] = std::move(made);
    if (begun.ok()) ++num_exchanging_;
  }
  if (!begun.ok()) {
    give_up(begun.annotated(name_));
    return lane;
  }
  std::thread([self = shared_from_this(), &lane] {
    const Status status = self->connect_lane(lane);
    if (!status.ok()) self->give_up(status);
  }).detach();
  return lane;
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

// On the lane's own thread.
Status NcclGroup::connect_lane(NcclLane& lane) {
  const Status exchanged = await_exchange(lane);
  {
    std::lock_guard lock(mutex_);
    --num_exchanging_;
    changed_.notify_all();
  }
  Status status = exchanged.ok() ? context_->make_current() : exchanged;
  if (status.ok()) {
    status = make_communicator(lane.channel, {lane.id, 2, lane.outgoing ? 0 : 1, kLaneCtas});
  }
  if (status.ok()) {
    status = prove(lane.channel, *lane.proof, [&](ncclComm_t comm, cudaStream_t stream) {
      void* byte = first_bytes_->data();
      return lane.outgoing ? ncclSend(byte, 1, ncclUint8, 1, comm, stream)
                           : ncclRecv(byte, 1, ncclUint8, 0, comm, stream);
    });
  }
  if (!status.ok()) {
    return status.annotated(
        fmt::format("{}: connecting {} rank {}", name_, lane.outgoing ? "to" : "from", lane.peer));
  }
  return open_lane(lane);
}

Status NcclGroup::await_exchange(NcclLane& lane) {
  while (!lane.exchange.ready()) {
    if (failed_) return health();
    std::this_thread::sleep_for(kExchangeInterval);
  }
  const Status exchanged = lane.exchange.wait(Deadline::after_s(0));
  lane.exchange = Work();
  return exchanged;
}

// Issues what waits, in order. What comes meanwhile waits too.
Status NcclGroup::open_lane(NcclLane& lane) {
  std::vector<std::shared_ptr<NcclOperation>> queue;
  while (true) {
    {
      std::lock_guard lock(mutex_);
      queue.clear();
      queue.swap(lane.queue);
      if (queue.empty()) {
        lane.is_ready = true;
        changed_.notify_all();
        return ok_status();
      }
    }
    for (const auto& operation : queue) {
      std::lock_guard calls(lane.channel.call_mutex);
      LEASEHOLD_RETURN_IF_ERROR(issue_locked(lane.channel, operation));
    }
  }
}

void NcclGroup::submit(NcclLane& lane, const std::shared_ptr<NcclOperation>& operation) {
  {
    std::lock_guard lock(mutex_);
    if (!failure_.ok()) return finish(*operation, failure_);
    if (!lane.is_ready) return lane.queue.push_back(operation);
  }
  Status status;
  {
    std::lock_guard calls(lane.channel.call_mutex);
    status = issue_locked(lane.channel, operation);
  }
  if (!status.ok()) give_up(status);
}

bool NcclGroup::look_at(NcclLane& lane) {
  NcclOperation late(nullptr);
  {
    std::lock_guard lock(mutex_);
    if (lane.is_ready) return false;
    if (std::chrono::duration<double>(Steady::now() - lane.since).count() <= timeout_s_)
      return true;
    // The peer has not issued its first message to or from this rank.
    late.state = NcclOperation::State::kQueued;
    late.summary = {.kind = lane.outgoing ? OperationKind::kSend : OperationKind::kReceive,
                    .peer = lane.peer,
                    .elements = 0};
    if (!lane.queue.empty()) {
      late.summary = lane.queue.front()->summary;
      late.sequence = lane.queue.front()->sequence;
    }
  }
  give_up_late(late);
  return true;
}

}  // namespace leasehold
