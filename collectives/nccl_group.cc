#include "collectives/nccl_group.h"

#include <chrono>
#include <sched.h>
#include <thread>

#include "runtime/base/check.h"
#include "runtime/device/cpu_stream.h"
#include "runtime/device/cuda_event.h"

namespace leasehold {

namespace {

using Steady = std::chrono::steady_clock;

// How a thread that polls passes the time between two looks.
class Pause {
 public:
  void operator()() {
    const auto waited = Steady::now() - since_;
    if (waited < kYield) {
      ::sched_yield();
    } else {
      std::this_thread::sleep_for(std::min<Steady::duration>(waited / 16, kLongestSleep));
    }
  }

 private:
  static constexpr auto kYield = std::chrono::microseconds(200);
  static constexpr auto kLongestSleep = std::chrono::microseconds(500);
  Steady::time_point since_ = Steady::now();
};

}  // namespace

void NcclOperation::then(Stream& stream) {
  CudaStream& waiting = CudaStream::from(stream);
  const Status issued = group->wait_until_issued(*this);
  if (!issued.ok()) return waiting.fail(issued);
  waiting.wait(*done);
}
bool NcclOperation::ready() const { return group->ready(const_cast<NcclOperation&>(*this)); }
Status NcclOperation::wait(Deadline deadline) { return group->wait(*this, deadline); }

NcclGroup::NcclGroup(std::unique_ptr<Communicator> host, std::shared_ptr<CudaContext> context,
                     std::string name, double timeout_s, const NcclOptions& options)
    : context_(std::move(context)),
      name_(std::move(name)),
      timeout_s_(timeout_s),
      options_(options),
      rank_(host->rank()),
      size_(host->size()),
      host_(std::move(host)),
      reporting_(dynamic_cast<ReportingGroup*>(host_.get())),
      host_stream_(create_inline_stream(name_ + ", host", timeout_s)),
      lanes_(static_cast<size_t>(2 * size_)),
      num_sent_(static_cast<size_t>(size_)),
      num_received_(static_cast<size_t>(size_)),
      newest_at_(Steady::now()) {
  report_.known = true;
  main_.messages_per_call = options.messages_per_call;
}

NcclGroup::~NcclGroup() = default;

Result<std::shared_ptr<NcclGroup>> NcclGroup::create(std::unique_ptr<Communicator> host,
                                                     CudaDevice& device, const std::string& name,
                                                     double timeout_s, const NcclOptions& options) {
  const std::shared_ptr<NcclGroup> group(
      new NcclGroup(std::move(host), device.context(), name, timeout_s, options));
  if (group->reporting_ == nullptr) {
    return error(Code::kInternal, "{}: an NCCL group stands on a group of MPI or of threads", name);
  }
  group->reporting_->set_report_source(group.get());
  const Status status = group->connect(device);
  if (status.ok()) return group;
  group->give_up(status);
  group->leave();
  group->release_host();  // the end of NCCL's part may outlive what `host` stands on
  return status;
}

Result<std::shared_ptr<NcclOperation>> NcclGroup::make_operation() {
  auto operation = std::make_shared<NcclOperation>(shared_from_this());
  LEASEHOLD_ASSIGN_OR_RETURN(operation->reached, CudaEvent::create(context_));
  LEASEHOLD_ASSIGN_OR_RETURN(operation->done, CudaEvent::create(context_));
  operation->rank = rank_;
  return operation;
}

void NcclGroup::issue(const std::shared_ptr<NcclOperation>& operation, Stream& stream) {
  CudaStream& from = CudaStream::from(stream);
  const Status before = from.failure();
  if (!before.ok()) {
    give_up(before.annotated(fmt::format("{}: the stream of rank {} failed before {}", name_, rank_,
                                         to_string(operation->summary))));
  }
  if (measures_ && operation->begun == nullptr && !is_message(operation->summary)) {
    const Status made = make_measured(*operation);
    if (!made.ok()) give_up(made.annotated(name_));
  }
  {
    std::lock_guard lock(mutex_);
    count(*operation);
    if (!failure_.ok()) return finish(*operation, failure_);
    operation->state = NcclOperation::State::kQueued;
    operation->started = false;
  }
  from.record(*operation->reached);
  if (is_message(operation->summary)) {
    const bool outgoing = operation->summary.kind == OperationKind::kSend;
    return submit(lane_to(operation->summary.peer, outgoing), operation);
  }
  Status status;
  {
    std::lock_guard calls(main_.call_mutex);
    status = issue_locked(main_, operation);
  }
  if (!status.ok()) give_up(status);
}

// Nobody waits for the operation any more, so its events may be others.
Status NcclGroup::make_measured(NcclOperation& operation) {
  LEASEHOLD_ASSIGN_OR_RETURN(operation.done, CudaEvent::create(context_, true));
  LEASEHOLD_ASSIGN_OR_RETURN(operation.begun, CudaEvent::create(context_, true));
  return ok_status();
}

// Where the operation stands in the order that all ranks share.
void NcclGroup::count(NcclOperation& operation) {
  const auto peer = static_cast<size_t>(std::max(operation.summary.peer, 0));
  switch (operation.summary.kind) {
    case OperationKind::kSend:
      operation.sequence = num_sent_[peer]++;
      break;
    case OperationKind::kReceive:
      operation.sequence = num_received_[peer]++;
      break;
    default:
      operation.sequence = num_collectives_++;
      break;
  }
}

Status NcclGroup::issue_locked(NcclChannel& channel,
                               const std::shared_ptr<NcclOperation>& operation) {
  {
    std::lock_guard lock(mutex_);
    if (!failure_.ok()) {
      finish(*operation, failure_);
      return ok_status();
    }
    operation->state = NcclOperation::State::kIssuing;
    operation->channel = &channel;
    operation->started_at = Steady::now();
    channel.in_flight.push_back(operation);
  }
  const Status status = hand_over(channel, *operation);
  std::lock_guard lock(mutex_);
  if (status.ok() && operation->state == NcclOperation::State::kIssuing)
    operation->state = NcclOperation::State::kIssued;
  changed_.notify_all();
  if (status.ok() || !failure_.ok()) return ok_status();
  return status.annotated(
      fmt::format("{}: {} on rank {}", name_, to_string(operation->summary), rank_));
}

Status NcclGroup::hand_over(NcclChannel& channel, NcclOperation& operation) {
  channel.stream->wait(*operation.reached);
  if (operation.begun != nullptr && !is_message(operation.summary))
    channel.stream->record(*operation.begun);
  LEASEHOLD_RETURN_IF_ERROR(begin_operation(operation, channel));
  LEASEHOLD_RETURN_IF_ERROR(launch(operation, channel));
  return end_operation(operation, channel);
}

bool NcclGroup::ready(NcclOperation& operation) {
  NcclChannel* issued_on = nullptr;
  {
    std::lock_guard lock(mutex_);
    if (operation.state == NcclOperation::State::kIssued) issued_on = operation.channel;
  }
  if (issued_on != nullptr) retire(*issued_on);
  std::lock_guard lock(mutex_);
  return operation.state == NcclOperation::State::kDone;
}

Status NcclGroup::wait(NcclOperation& operation, Deadline deadline) {
  Pause pause;
  while (!ready(operation)) {
    if (deadline.passed()) {
      return error(Code::kUnavailable, "{}: {} is not done by the caller's deadline", name_,
                   to_string(operation.summary));
    }
    pause();
  }
  Status status;
  {
    std::lock_guard lock(mutex_);
    status = operation.status;
  }
  // The caller may free the operation's memory now.
  if (!status.ok() && operation.channel != nullptr) await_end_of_work(*operation.channel);
  return status;
}

Status NcclGroup::wait_until_issued(NcclOperation& operation) {
  const Deadline deadline = Deadline::after_s(3 * timeout_s_ + kAnswerLimitS);
  std::unique_lock lock(mutex_);
  const auto issued = [&] {
    return operation.state == NcclOperation::State::kIssued ||
           operation.state == NcclOperation::State::kDone;
  };
  if (!changed_.wait_until(lock, deadline.time_point(), issued)) {
    return error(Code::kUnavailable, "{}: {} was not issued in {} s", name_,
                 to_string(operation.summary), 3 * timeout_s_);
  }
  return operation.state == NcclOperation::State::kDone ? operation.status : ok_status();
}

}  // namespace leasehold
