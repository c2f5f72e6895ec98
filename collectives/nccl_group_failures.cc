// Inside `nccl`: what is done, what is late, what has failed, and how a group ends.
#include <algorithm>
#include <chrono>
#include <limits>
#include <thread>

#include "collectives/nccl_calls.h"
#include "collectives/nccl_group.h"

namespace leasehold {

namespace {

using Steady = std::chrono::steady_clock;

// How long NCCL may take to end operations before it is left to itself.
constexpr double kAbortLimitS = 10;
// The time in which a thread may leave a call of NCCL before its communicator is aborted. A thread
// that waits for peers there leaves only because of the abort.
constexpr double kCallLimitS = 0.1;

Steady::duration seconds(double value) {
  return std::chrono::duration_cast<Steady::duration>(std::chrono::duration<double>(value));
}

}  // namespace

std::vector<NcclChannel*> NcclGroup::channels() {
  std::vector<NcclChannel*> all;
  if (main_.stream != nullptr) all.push_back(&main_);
  std::lock_guard lock(mutex_);
  for (const auto& lane : lanes_) {
    if (lane) all.push_back(&lane->channel);
  }
  return all;
}

Status NcclGroup::health() const {
  std::lock_guard lock(mutex_);
  return failure_;
}

void NcclGroup::note_busy(const NcclOperation& done) {
  if (done.begun == nullptr || is_message(done.summary)) return;
  const Result<double> seconds = done.done->seconds_since(*done.begun);
  busy_s_ += seconds.ok() ? *seconds : std::numeric_limits<double>::quiet_NaN();
}

double NcclGroup::busy_s() {
  measures_ = true;
  if (!failed_ && main_.stream != nullptr) retire(main_);
  std::lock_guard lock(mutex_);
  return busy_s_;
}

void NcclGroup::finish(NcclOperation& operation, const Status& status) {
  operation.state = NcclOperation::State::kDone;
  operation.status = status;
  changed_.notify_all();
}

void NcclGroup::mark_started(NcclOperation& operation) {
  if (operation.started) return;
  operation.started = true;
  if (operation.state == NcclOperation::State::kIssued) operation.started_at = Steady::now();
  newest_at_ = operation.started_at;
  report_.any = true;
  report_.newest = operation.summary;
  report_.newest_done = false;
  if (is_message(operation.summary)) return;
  report_.newest_collective = operation.summary;
  ++report_.collectives_reached;
}

GroupReport NcclGroup::report() {
  std::lock_guard lock(mutex_);
  GroupReport told = report_;
  told.age_s = std::chrono::duration<double>(Steady::now() - newest_at_).count();
  if (!failure_.ok()) told.set_failure(failure_.message());
  return told;
}

void NcclGroup::retire(NcclChannel& channel) {
  Status failed;
  {
    std::lock_guard lock(mutex_);
    while (!channel.in_flight.empty()) {
      const std::shared_ptr<NcclOperation>& oldest = channel.in_flight.front();
      if (oldest->state != NcclOperation::State::kIssued || !oldest->done->ready()) break;
      // Done, but a stream that it waited for may have failed: then what was moved is worthless.
      failed = oldest->done->wait(Deadline::after_s(0));
      if (!failed.ok()) {
        failed = failed.annotated(
            fmt::format("{}: {} on rank {}", name_, to_string(oldest->summary), rank_));
        break;
      }
      mark_started(*oldest);
      note_busy(*oldest);
      report_.newest_done = true;
      newest_at_ = Steady::now();
      finish(*oldest, ok_status());
      channel.in_flight.erase(channel.in_flight.begin());
    }
  }
  if (!failed.ok()) give_up(failed);
}

Status NcclGroup::find_error(NcclChannel& channel) {
  // Whoever is inside a call there sees errors for itself.
  std::unique_lock calls(channel.call_mutex, std::try_to_lock);
  ncclComm_t comm = channel.comm;
  if (!calls.owns_lock() || comm == nullptr) return ok_status();
  ncclResult_t state = ncclSuccess;
  LEASEHOLD_RETURN_IF_ERROR(
      nccl_status(ncclCommGetAsyncError(comm, &state), "ncclCommGetAsyncError"));
  return nccl_status(state, "NCCL");
}

std::shared_ptr<NcclOperation> NcclGroup::find_late(NcclChannel& channel, Deadline::TimePoint now) {
  std::lock_guard lock(mutex_);
  if (channel.in_flight.empty()) return nullptr;
  const std::shared_ptr<NcclOperation>& oldest = channel.in_flight.front();
  const bool issuing = oldest->state == NcclOperation::State::kIssuing;
  if (!oldest->started && (issuing || oldest->reached->ready())) mark_started(*oldest);
  if (!oldest->started || now - oldest->started_at < seconds(timeout_s_)) return nullptr;
  return oldest;
}

void NcclGroup::give_up_late(const NcclOperation& late) {
  const auto answers = reporting_->ask_members(kAnswerLimitS);
  {
    std::lock_guard lock(mutex_);
    if (late.state == NcclOperation::State::kDone) return;  // at the last moment
  }
  give_up(describe_late_operation(name_, rank_, {late.summary, late.sequence}, timeout_s_, answers,
                                  [&](int member) { return reporting_->describe_member(member); }));
}

std::string NcclGroup::describe_under_way(NcclChannel& channel) const {
  std::lock_guard lock(mutex_);
  if (channel.in_flight.empty()) return fmt::format("{}: rank {}", name_, rank_);
  return fmt::format("{}: {} on rank {}", name_, to_string(channel.in_flight.front()->summary),
                     rank_);
}

bool NcclGroup::look() {
  if (failed_) return false;
  // NCCL makes communicators for the thread's device.
  Status heard = context_->make_current();
  if (heard.ok()) heard = host_->health();
  if (!heard.ok()) {
    give_up(heard);
    return false;
  }
  bool busy = false;
  const auto look_at_channel = [&](NcclChannel& channel) {
    retire(channel);
    const Status error = find_error(channel);
    if (!error.ok()) return give_up(error.annotated(describe_under_way(channel)));
    const std::shared_ptr<NcclOperation> late = find_late(channel, Steady::now());
    if (late != nullptr) return give_up_late(*late);
    std::lock_guard lock(mutex_);
    busy = busy || !channel.in_flight.empty();
  };
  if (main_.stream != nullptr) look_at_channel(main_);
  for (size_t i = 0; i < lanes_.size() && !failed_; ++i) {
    NcclLane* lane = nullptr;
    {
      std::lock_guard lock(mutex_);
      lane = lanes_[i].get();
    }
    if (lane == nullptr) continue;
    if (look_at(*lane)) {
      busy = true;
    } else {
      look_at_channel(lane->channel);
    }
  }
  return busy && !failed_;
}

void NcclGroup::give_up(const Status& reason) {
  {
    std::lock_guard lock(mutex_);
    if (!failure_.ok()) return;
    failure_ = reason;
    failed_ = true;
  }
  for (NcclChannel* channel : channels()) {
    CudaStream* stream = channel->stream == nullptr ? nullptr : &CudaStream::from(*channel->stream);
    std::lock_guard lock(mutex_);
    bool before = true;  // what was done before is done well
    for (const auto& operation : channel->in_flight) {
      before = before && operation->state == NcclOperation::State::kIssued &&
               operation->done->ready() && operation->done->wait(Deadline::after_s(0)).ok();
      finish(*operation, before ? ok_status() : reason);
    }
    channel->in_flight.clear();
    if (stream != nullptr) stream->fail(reason);
  }
  {
    std::lock_guard lock(mutex_);
    for (const auto& lane : lanes_) {
      if (!lane) continue;
      for (const auto& operation : lane->queue) finish(*operation, reason);
      lane->queue.clear();
    }
  }
  if (host_ != nullptr) host_->abort(reason);
  for (NcclChannel* channel : channels()) abort_channel(*channel);
}

// ncclCommAbort may wait: for other communicators of this device, and for ranks of the same node,
// which abort once they hear of it. So each has a thread, and nobody waits for that without limit.
void NcclGroup::abort_channel(NcclChannel& channel) {
  if (channel.comm == nullptr) return;
  {
    std::lock_guard lock(mutex_);
    ++num_ending_;
  }
  std::thread([self = shared_from_this(), &channel] {
    (void)self->context_->make_current();
    const Deadline limit = Deadline::after_s(kCallLimitS);
    std::unique_lock calls(channel.call_mutex, std::defer_lock);
    while (!calls.try_lock() && !limit.passed())
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    ncclComm_t comm = channel.comm.exchange(nullptr);
    if (comm != nullptr) (void)ncclCommAbort(comm);
    std::lock_guard lock(self->mutex_);
    --self->num_ending_;
    self->changed_.notify_all();
  }).detach();
}

// Waits for the peers' ends of it, and for what is under way. abort_channel() ends that wait.
void NcclGroup::end_channel(NcclChannel& channel) {
  {
    std::lock_guard lock(mutex_);
    ++num_ending_;
  }
  std::thread([self = shared_from_this(), &channel] {
    (void)self->context_->make_current();
    {
      std::lock_guard calls(channel.call_mutex);
      ncclComm_t comm = channel.comm;
      const ncclResult_t finalized = comm == nullptr ? ncclSuccess : ncclCommFinalize(comm);
      comm = channel.comm.exchange(nullptr);
      if (comm != nullptr)
        (void)(finalized == ncclSuccess ? ncclCommDestroy(comm) : ncclCommAbort(comm));
    }
    std::lock_guard lock(self->mutex_);
    --self->num_ending_;
    self->changed_.notify_all();
  }).detach();
}

// NCCL lets go of operations early in an abort, and may then wait for ranks that never come.
void NcclGroup::await_end_of_work(NcclChannel& channel) {
  const Deadline limit = Deadline::after_s(kAbortLimitS);
  cudaStream_t stream = CudaStream::from(*channel.stream).handle();
  while (context_->make_current().ok() && !limit.passed()) {
    {
      std::lock_guard lock(mutex_);
      if (num_ending_ == 0) return;
    }
    if (cudaStreamQuery(stream) != cudaErrorNotReady) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

void NcclGroup::leave() {
  std::string pending;
  for (NcclChannel* channel : channels()) {
    retire(*channel);
    std::lock_guard lock(mutex_);
    if (!channel->in_flight.empty()) pending = to_string(channel->in_flight.front()->summary);
  }
  std::unique_lock lock(mutex_);  // the watch may take from a queue
  for (const auto& lane : lanes_) {
    if (lane && !lane->queue.empty()) pending = to_string(lane->queue.front()->summary);
  }
  lock.unlock();
  if (!pending.empty()) {
    give_up(error(Code::kUnavailable, "{}: rank {} left before its {} was done", name_, rank_,
                  pending));
  }
  reporting_->set_report_source(nullptr);
}

void NcclGroup::release_host() {
  // Threads of lanes may still use it.
  std::unique_lock lock(mutex_);
  const auto exchanged = [this] { return num_exchanging_ == 0; };
  if (!changed_.wait_for(lock, seconds(kAbortLimitS), exchanged)) return;
  lock.unlock();
  reporting_ = nullptr;
  host_.reset();
}

bool NcclGroup::look_after_leaving() {
  for (NcclChannel* channel : channels()) {
    if (failed_ || channel->is_ending || channel->comm == nullptr) continue;
    channel->is_ending = true;
    end_channel(*channel);
  }
  std::lock_guard lock(mutex_);
  return num_ending_ == 0;
}

void NcclGroup::abandon() {
  for (NcclChannel* channel : channels()) abort_channel(*channel);
}

}  // namespace leasehold
