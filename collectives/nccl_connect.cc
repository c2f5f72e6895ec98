// Inside `nccl`: how a group's communicators are made and connected.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>

#include "collectives/nccl_calls.h"
#include "collectives/nccl_group.h"
#include "runtime/comm/host_exchange.h"
#include "runtime/device/cuda_event.h"

namespace leasehold {

namespace {

// Between two looks of a thread that waits for others.
constexpr std::chrono::milliseconds kProofInterval{1};
constexpr std::chrono::milliseconds kHealthInterval{20};
// The longest time in which a rank that hears of a peer's end sees its own connection.
constexpr std::chrono::seconds kOwnConnectionLimit{2};

}  // namespace

Status NcclGroup::connect(CudaDevice& device) {
  const Deadline deadline = Deadline::after_s(timeout_s_);
  LEASEHOLD_RETURN_IF_ERROR(context_->make_current());
  constexpr int64_t kFirstBytes = 256;
  LEASEHOLD_ASSIGN_OR_RETURN(
      first_bytes_, device.allocate(kFirstBytes, MemoryKind::kDevice, "connecting group " + name_));
  if (options_.use != GroupUse::kAll) return connect_neighbours(deadline);
  LEASEHOLD_ASSIGN_OR_RETURN(main_.stream, device.create_stream("nccl " + name_));
  return connect_main(deadline);
}

Status NcclGroup::connect_main(Deadline deadline) {
  LEASEHOLD_ASSIGN_OR_RETURN(const ncclUniqueId id, exchange_id(deadline));
  std::thread([self = shared_from_this(), id] {
    Status status = self->context_->make_current();
    if (status.ok()) status = self->make_communicator(self->main_, {id, self->size_, self->rank_});
    if (status.ok()) status = self->prove_main();
    if (!status.ok()) return self->give_up(status.annotated("group " + self->name_));
    std::lock_guard lock(self->mutex_);
    self->is_connected_ = true;
    self->changed_.notify_all();
  }).detach();
  return wait_until_connected(deadline, [this] { return is_connected_; });
}

// Connects the ranks that messages of this use go to and come from, but for the ends of the axis
// with each other: not every schedule has such messages.
Status NcclGroup::connect_neighbours(Deadline deadline) {
  const bool ahead = options_.use == GroupUse::kMessagesAhead;
  std::vector<const NcclLane*> opened;
  if (rank_ + 1 < size_) opened.push_back(&lane_to(rank_ + 1, ahead));
  if (rank_ > 0) opened.push_back(&lane_to(rank_ - 1, !ahead));
  return wait_until_connected(deadline, [&] {
    return std::ranges::all_of(opened, [](const NcclLane* lane) { return lane->is_ready; });
  });
}

// Rank 0's, or why it has none.
Result<ncclUniqueId> NcclGroup::exchange_id(Deadline deadline) {
  ncclUniqueId id{};
  std::string mine;
  if (rank_ == 0) {
    const Status made = nccl_status(ncclGetUniqueId(&id), "ncclGetUniqueId");
    mine = made.ok() ? std::string(id.internal, sizeof id.internal) : made.message();
  }
  LEASEHOLD_ASSIGN_OR_RETURN(const std::string text,
                             broadcast_bytes(*host_, *host_stream_, mine, 0, deadline));
  if (text.size() != sizeof id.internal) {
    return error(Code::kUnavailable, "group {}: rank 0: {}", name_, text);
  }
  std::memcpy(id.internal, text.data(), text.size());
  return id;
}

Status NcclGroup::make_communicator(NcclChannel& channel, const Making& making) {
  const std::string& name = &channel == &main_ ? name_ : channel.stream->name();
  ncclConfig_t config = communicator_config(name, making.max_ctas);
  ncclComm_t comm = nullptr;
  LEASEHOLD_RETURN_IF_ERROR(
      nccl_status(ncclCommInitRankConfig(&comm, making.size, making.id, making.rank, &config),
                  "ncclCommInitRankConfig"));
  bool given_up = false;
  {
    std::lock_guard lock(mutex_);
    given_up = !failure_.ok();
    if (given_up) {
      ++num_ending_;
    } else {
      channel.comm = comm;
      ++num_communicators_;
    }
  }
  if (!given_up) return ok_status();
  // Whoever gave up found no communicator to abort.
  (void)ncclCommAbort(comm);
  std::lock_guard lock(mutex_);
  --num_ending_;
  changed_.notify_all();
  return failure_;
}

Status NcclGroup::prove(NcclChannel& channel, Event& proof,
                        const std::function<ncclResult_t(ncclComm_t, cudaStream_t)>& operation) {
  {
    std::lock_guard calls(channel.call_mutex);
    ncclComm_t comm = channel.comm;
    if (comm == nullptr) return health();
    Status issued;
    CudaStream& stream = CudaStream::from(*channel.stream);
    stream.enqueue([&](cudaStream_t handle) {
      issued = nccl_status(operation(comm, handle), "connecting its ranks");
    });
    LEASEHOLD_RETURN_IF_ERROR(issued);
    stream.record(proof);
    LEASEHOLD_RETURN_IF_ERROR(stream.failure());
  }
  while (!proof.ready()) {
    if (failed_) return health();
    std::this_thread::sleep_for(kProofInterval);
  }
  return proof.wait(Deadline::after_s(0));
}

// Runs an operation whose result needs all ranks: afterwards rings and trees are
// connected, and no operation of a step has to wait for that.
Status NcclGroup::prove_main() {
  LEASEHOLD_ASSIGN_OR_RETURN(const std::unique_ptr<Event> proof, CudaEvent::create(context_));
  return prove(main_, *proof, [this](ncclComm_t comm, cudaStream_t stream) {
    void* first = first_bytes_->data();
    return ncclAllReduce(first, first, 1, ncclInt32, ncclSum, comm, stream);
  });
}

// A peer may be connected, go on and give the group up before this rank has seen its own end of the
// operation that connected both. Then it is about to see it, and has a group that failed later.
bool NcclGroup::await_own_connection(const std::function<bool()>& done) {
  std::unique_lock lock(mutex_);
  (void)changed_.wait_for(lock, kOwnConnectionLimit, [&] { return done() || !failure_.ok(); });
  return failure_.ok() && done();
}

Status NcclGroup::wait_until_connected(Deadline deadline, const std::function<bool()>& done) {
  while (true) {
    {
      std::unique_lock lock(mutex_);
      if (changed_.wait_for(lock, kHealthInterval, done)) return ok_status();
      if (!failure_.ok()) return failure_;
    }
    const Status heard = host_->health();
    if (!heard.ok()) return await_own_connection(done) ? ok_status() : heard;
    if (deadline.passed()) break;
  }
  std::string missing;
  const auto answers = reporting_->ask_members(kAnswerLimitS);
  for (size_t member = 0; member < answers.size(); ++member) {
    if (answers[member].answered && answers[member].report.known) continue;
    missing += fmt::format("{}{} {}", missing.empty() ? "" : "; ",
                           reporting_->describe_member(static_cast<int>(member)),
                           answers[member].answered ? "did not come" : "does not answer");
  }
  return error(
      Code::kUnavailable, "group {}: NCCL did not connect its {} ranks in {} s: {}", name_, size_,
      timeout_s_,
      missing.empty() ? "every rank is there, so the network between them may not work" : missing);
}

}  // namespace leasehold
