#include "collectives/mpi_engine.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <climits>
#include <cstring>
#include <sched.h>
#include <sys/prctl.h>

#include "collectives/combine.h"
#include "collectives/mpi_calls.h"
#include "runtime/base/check.h"

namespace leasehold {

namespace {

using Steady = std::chrono::steady_clock;
using std::chrono::microseconds;
using std::chrono::milliseconds;

// Bits of a tag: the group's channel, the pipeline of a collective (or kMessageTag), and a check.
constexpr int kPipelineBits = 4, kMinChannelBits = 11, kMaxCheckBits = 16;
constexpr int kMessageTag = (1 << kPipelineBits) - 1;
static_assert(kMaxPipelines < kMessageTag);

// A waiting thread polls for kSpin after the last progress. Then it yields its core between polls.
// After kYield it sleeps for a sixteenth of the quiet time.
constexpr auto kSpin = microseconds(100);
constexpr auto kYield = milliseconds(1);
constexpr auto kShortestSleep = microseconds(20), kLongestSleep = microseconds(500);
// Intervals of the engine's thread: the shortest and longest one while operations are under way and
// nobody waits, the one while other threads wait, and the one while it is idle. It stays attentive
// for kAttentive after the last operation.
constexpr auto kShortestInterval = microseconds(20), kLongestInterval = microseconds(150);
constexpr auto kBystanderInterval = milliseconds(1);
constexpr auto kIdleInterval = milliseconds(20);
constexpr auto kAttentive = milliseconds(2);
constexpr auto kSideInterval = milliseconds(1);

void apply(const RoundsPlan& plan, const Round& round) {
  if (round.then == Round::Then::kCopy) {
    std::memmove(round.out, round.left, static_cast<size_t>(round.elements * plan.element_bytes));
  } else if (round.then == Round::Then::kCombine) {
    combine(plan.call.summary.dtype, plan.call.summary.op, round.out, round.left, round.right,
            round.elements);
  }
}

}  // namespace

// Passes the time of a waiting thread between two looks.
class MpiEngine::Backoff {
 public:
  explicit Backoff(MpiEngine& engine) : engine_(engine), moved_at_(Steady::now()) {}

  void pause(bool moved, const MpiOperation& operation, uint64_t ticket) {
    const auto now = Steady::now();
    if (moved) moved_at_ = now;
    const auto quiet = now - moved_at_;
    if (quiet < kSpin && !engine_.oversubscribed_) return;
    if (quiet < kYield) {
      ::sched_yield();
      return;
    }
    const Steady::duration sleep =
        std::clamp<Steady::duration>(quiet / 16, kShortestSleep, kLongestSleep);
    std::unique_lock lock(engine_.state_mutex_);
    if (operation.done < ticket) engine_.changed_.wait_for(lock, sleep);
  }

 private:
  MpiEngine& engine_;
  Steady::time_point moved_at_;
};

MpiEngine::MpiEngine(MPI_Comm data, MPI_Comm side, int world_rank, const MpiEngineOptions& options)
    : data_(data), world_rank_(world_rank), options_(options), lag_(side, *this) {
  LEASEHOLD_CHECK(
      options.limits.segment_bytes <= INT_MAX && options.limits.message_bytes <= INT_MAX,
      "messages of {} and {} bytes: MPI counts are int", options.limits.segment_bytes,
      options.limits.message_bytes);
  (void)plan_rounds({}, options.limits);  // checks the limits here, not on the engine's thread
}

MpiEngine::~MpiEngine() { stop(); }

Status MpiEngine::start() {
  void* attribute = nullptr;
  int found = 0;
  LEASEHOLD_RETURN_IF_ERROR(check_mpi(MPI_Comm_get_attr(data_, MPI_TAG_UB, &attribute, &found),
                                      "MPI_Comm_get_attr(MPI_TAG_UB)"));
  if (found != 0) max_tag_ = *static_cast<int*>(attribute);
  const int tag_bits = static_cast<int>(std::bit_width(static_cast<unsigned>(max_tag_)));
  check_bits_ = std::clamp(tag_bits - kPipelineBits - kMinChannelBits, 0, kMaxCheckBits);
  // More requests are under way only with very many pieces or peers; then these vectors grow.
  constexpr size_t kRequests = 256;
  requests_.reserve(kRequests);
  owners_.reserve(kRequests);
  indices_.reserve(kRequests);
  statuses_.reserve(kRequests);
  completed_.reserve(kRequests);
  running_.reserve(kRequests);
  LEASEHOLD_RETURN_IF_ERROR(lag_.start());
  thread_ = std::thread([this] { thread_main(); });
  return ok_status();
}

void MpiEngine::stop() {
  {
    std::lock_guard lock(state_mutex_);
    stop_ = true;
    wake_.notify_all();
  }
  if (!thread_.joinable()) return;
  thread_.join();
  std::lock_guard lock(progress_mutex_);
  if (!silent_) lag_.stop();
  silent_ = true;
}

void MpiEngine::set_places(std::vector<std::string> places) {
  std::lock_guard lock(progress_mutex_);
  places_ = std::move(places);
}

Status MpiEngine::check_channel(int channel) const {
  const int num_channels = max_tag_ >> (kPipelineBits + check_bits_);
  if (channel < num_channels) return ok_status();
  return error(Code::kUnavailable, "MPI has tags for {} groups, and all are taken", num_channels);
}

MpiGroup& MpiEngine::add_group(const std::string& name, int channel, std::vector<int> world_ranks) {
  auto group = std::make_unique<MpiGroup>();
  group->engine = this;
  group->name = name;
  group->channel = channel;
  group->world_ranks = std::move(world_ranks);
  group->rank = static_cast<int>(
      std::find(group->world_ranks.begin(), group->world_ranks.end(), world_rank_) -
      group->world_ranks.begin());
  group->num_sent.resize(group->world_ranks.size());
  group->num_received.resize(group->world_ranks.size());
  group->report.known = true;
  std::scoped_lock lock(progress_mutex_, state_mutex_);
  return *groups_.emplace_back(std::move(group));
}

void MpiEngine::leave(MpiGroup& group) {
  std::unique_lock state(state_mutex_);
  const bool busy =
      std::any_of(group.operations.begin(), group.operations.end(),
                  [](const auto& operation) { return operation->done < operation->ticket; });
  state.unlock();
  if (busy) {
    abort(group, error(Code::kUnavailable, "{}: rank {} left before its operations were done",
                       group.name, group.rank));
  }
  std::lock_guard lock(progress_mutex_);
  group.report.known = false;
  group.report_source = nullptr;
  group.scratch = {};
}

std::shared_ptr<MpiOperation> MpiEngine::acquire(MpiGroup& group) {
  std::lock_guard lock(state_mutex_);
  std::shared_ptr<MpiOperation> found;
  for (const auto& operation : group.operations) {
    if (operation.use_count() == 1 && operation->done == operation->ticket &&
        !operation->awaits_stream) {
      found = operation;
      break;
    }
  }
  if (!found) found = group.operations.emplace_back(std::make_shared<MpiOperation>(group));
  ++found->ticket;
  found->may_start = false;
  return found;
}

void MpiEngine::issue(MpiOperation& operation) {
  MpiGroup& group = operation.group;
  std::lock_guard lock(state_mutex_);
  const auto peer = static_cast<size_t>(std::max(operation.summary.peer, 0));
  switch (operation.summary.kind) {
    case OperationKind::kSend:
      operation.sequence = group.num_sent[peer]++;
      break;
    case OperationKind::kReceive:
      operation.sequence = group.num_received[peer]++;
      break;
    default:
      operation.sequence = group.num_collectives++;
      break;
  }
  operation.awaits_stream = true;
  if (!group.failure.ok()) return finish_locked(operation, group.failure);
  operation.next = nullptr;
  (group.head == nullptr ? group.head : group.tail->next) = &operation;
  group.tail = &operation;
}

void MpiEngine::stream_reached(MpiOperation& operation, const Status& stream_status) {
  {
    std::lock_guard lock(state_mutex_);
    operation.awaits_stream = false;
    if (operation.done == operation.ticket) return;  // given up meanwhile
    if (stream_status.ok()) {
      operation.may_start = true;
      ++num_under_way_;
      arrived_ = true;
      if (thread_asleep_) wake_.notify_one();
    }
  }
  if (stream_status.ok()) {
    (void)try_progress();
  } else {
    abort(operation.group, stream_status.annotated(fmt::format(
                               "{}: the stream of rank {} failed before {}", operation.group.name,
                               operation.group.rank, to_string(operation.summary))));
  }
}

Status MpiEngine::wait(const MpiOperation& operation, uint64_t ticket, Deadline deadline) {
  ++num_waiting_;
  Backoff backoff(*this);
  while (operation.done < ticket) {
    const bool moved = try_progress();
    if (operation.done >= ticket) break;
    if (deadline.passed()) {
      --num_waiting_;
      return error(Code::kUnavailable, "{}: {} is not done by the caller's deadline",
                   operation.group.name, to_string(operation.summary));
    }
    backoff.pause(moved, operation, ticket);
  }
  --num_waiting_;
  std::lock_guard lock(state_mutex_);
  // A reused object means that the awaited operation was ok, or that the group has failed.
  return operation.done == ticket && operation.ticket == ticket ? operation.status
                                                                : operation.group.failure;
}

bool MpiEngine::ready(const MpiOperation& operation) {
  if (operation.done < operation.ticket) (void)try_progress();
  return operation.done == operation.ticket;
}

Status MpiEngine::health(const MpiGroup& group) const {
  std::lock_guard lock(state_mutex_);
  return group.failure;
}

double MpiEngine::busy_s(const MpiGroup& group) const {
  std::lock_guard lock(state_mutex_);
  return group.busy_s;
}

void MpiEngine::abort(MpiGroup& group, const Status& reason) {
  std::lock_guard lock(progress_mutex_);
  abort_progressing(group, reason, true);
}

bool MpiEngine::try_progress() {
  std::unique_lock lock(progress_mutex_, std::try_to_lock);
  return lock.owns_lock() && progress();
}

bool MpiEngine::progress() {
  if (silent_) return false;
  bool moved = false;
  if (arrived_.exchange(false)) {
    start_what_may();
    moved = true;
  }
  if (!requests_.empty()) moved |= test_requests();
  if (arrived_.exchange(false)) start_what_may();
  const auto now = Steady::now();
  if (now - side_polled_at_ >= kSideInterval && !silent_) {
    side_polled_at_ = now;
    const Status status = lag_.poll();
    if (!status.ok()) fail_everything(status);
    watch_deadlines(now);
  }
  return moved;
}

void MpiEngine::start_what_may() {
  for (const auto& group : groups_) {
    while (MpiOperation* operation = next_to_start(*group)) start_operation(*operation);
  }
}

// Returns the next operation, strictly in the order of issue. A collective waits for the one before
// it.
MpiOperation* MpiEngine::next_to_start(MpiGroup& group) {
  std::lock_guard lock(state_mutex_);
  MpiOperation* operation = group.head;
  if (operation == nullptr || !operation->may_start) return nullptr;
  if (!is_message(operation->summary) && group.collective != nullptr) return nullptr;
  group.head = operation->next;
  return operation;
}

void MpiEngine::start_operation(MpiOperation& operation) {
  MpiGroup& group = operation.group;
  operation.call.sends = operation.sends;
  operation.call.receives = operation.receives;
  operation.plan = plan_rounds(operation.call, options_.limits);
  operation.started_at = Steady::now();
  operation.num_running = operation.plan.num_pipelines;
  operation.pipelines.resize(static_cast<size_t>(operation.num_running));
  const auto scratch_bytes =
      static_cast<size_t>(operation.plan.scratch_bytes * operation.num_running);
  if (group.scratch.size() < scratch_bytes) group.scratch.resize(scratch_bytes);

  group.report.any = true;
  group.report.newest = operation.summary;
  group.report.newest_done = false;
  group.newest_at = operation.started_at;
  if (!is_message(operation.summary)) {
    group.collective = &operation;
    group.report.newest_collective = operation.summary;
    ++group.report.collectives_reached;
  }
  running_.push_back(&operation);
  const uint64_t ticket = operation.ticket;
  const int num_pipelines = operation.num_running;
  if (num_pipelines == 0) return finish(operation, ok_status());
  for (int p = 0; p < num_pipelines && operation.done < ticket; ++p) {
    operation.pipelines[static_cast<size_t>(p)].cursor = RoundCursor::at_begin(operation.plan, p);
    const Status status = run_pipeline(operation, p);
    if (!status.ok()) return abort_progressing(group, status, true);
  }
  if (operation.num_running == 0) finish(operation, ok_status());
}

// Runs rounds until one has messages under way.
Status MpiEngine::run_pipeline(MpiOperation& operation, int index) {
  MpiOperation::Pipeline& pipeline = operation.pipelines[static_cast<size_t>(index)];
  char* scratch = operation.group.scratch.data() + operation.plan.scratch_bytes * index;
  while (next_round(operation.plan, scratch, pipeline.cursor, &pipeline.round)) {
    LEASEHOLD_RETURN_IF_ERROR(post(operation, index));
    if (pipeline.num_pending > 0) return ok_status();
    apply(operation.plan, pipeline.round);
  }
  --operation.num_running;
  return ok_status();
}

Status MpiEngine::post(MpiOperation& operation, int index) {
  const MpiGroup& group = operation.group;
  MpiOperation::Pipeline& pipeline = operation.pipelines[static_cast<size_t>(index)];
  const Round& round = pipeline.round;
  const auto world = [&](int rank) { return group.world_ranks[static_cast<size_t>(rank)]; };
  const auto add = [&](int64_t receive_bytes) -> MPI_Request* {
    requests_.push_back(MPI_REQUEST_NULL);
    owners_.push_back({&operation, operation.ticket, index, receive_bytes});
    ++pipeline.num_pending;
    return &requests_.back();
  };
  pipeline.num_pending = 0;
  if (round.receive_from >= 0) {
    LEASEHOLD_RETURN_IF_ERROR(check_mpi(
        MPI_Irecv(round.receive, static_cast<int>(round.receive_bytes), MPI_BYTE,
                  world(round.receive_from), tag_of(operation, index, round.receive_bytes), data_,
                  add(round.receive_bytes)),
        "MPI_Irecv"));
  }
  if (round.send_to >= 0) {
    LEASEHOLD_RETURN_IF_ERROR(check_mpi(
        MPI_Isend(round.send, static_cast<int>(round.send_bytes), MPI_BYTE, world(round.send_to),
                  tag_of(operation, index, round.send_bytes), data_, add(-1)),
        "MPI_Isend"));
  }
  return ok_status();
}

int MpiEngine::tag_of(const MpiOperation& operation, int pipeline, int64_t size_bytes) const {
  const OperationSummary& summary = operation.summary;
  const bool message = is_message(summary);
  uint64_t check = message ? 0 : static_cast<uint64_t>(summary.kind) + 1;
  const int root = message ? 0 : summary.peer;
  for (const int64_t part : {static_cast<int64_t>(summary.dtype), static_cast<int64_t>(summary.op),
                             int64_t{root}, summary.elements, operation.sequence, size_bytes}) {
    // 2^64 / golden ratio, an odd multiplier.
    check = (check ^ static_cast<uint64_t>(part)) * 0x9e3779b97f4a7c15;
    check ^= check >> 29;
  }
  const int place = operation.group.channel << kPipelineBits | (message ? kMessageTag : pipeline);
  return place << check_bits_ | static_cast<int>(check & ((uint64_t{1} << check_bits_) - 1));
}

bool MpiEngine::test_requests() {
  indices_.resize(requests_.size());
  statuses_.resize(requests_.size());
  int num_done = 0;
  const int returned = MPI_Testsome(static_cast<int>(requests_.size()), requests_.data(), &num_done,
                                    indices_.data(), statuses_.data());
  if (returned != MPI_SUCCESS && returned != MPI_ERR_IN_STATUS) {
    fail_everything(check_mpi(returned, "MPI_Testsome"));
    return false;
  }
  if (num_done <= 0 || num_done == MPI_UNDEFINED) return false;
  completed_.clear();
  for (int i = 0; i < num_done; ++i) {
    if (returned == MPI_SUCCESS) statuses_[static_cast<size_t>(i)].MPI_ERROR = MPI_SUCCESS;
    completed_.push_back(owners_[static_cast<size_t>(indices_[static_cast<size_t>(i)])]);
    owners_[static_cast<size_t>(indices_[static_cast<size_t>(i)])].operation = nullptr;
  }
  size_t kept = 0;
  for (size_t i = 0; i < requests_.size(); ++i) {
    if (owners_[i].operation == nullptr) continue;
    requests_[kept] = requests_[i];
    owners_[kept++] = owners_[i];
  }
  requests_.resize(kept);
  owners_.resize(kept);
  for (size_t i = 0; i < completed_.size(); ++i) message_done(completed_[i], statuses_[i]);
  return true;
}

Status MpiEngine::check_message(const RequestOwner& owner, MPI_Status& status) const {
  const MpiOperation& operation = *owner.operation;
  int error_class = MPI_SUCCESS, received = 0;
  if (status.MPI_ERROR != MPI_SUCCESS) (void)MPI_Error_class(status.MPI_ERROR, &error_class);
  if (error_class != MPI_SUCCESS && error_class != MPI_ERR_TRUNCATE) {
    return check_mpi(status.MPI_ERROR, "a message")
        .annotated(fmt::format("{}: {}", operation.group.name, to_string(operation.summary)));
  }
  if (owner.receive_bytes < 0) return ok_status();
  (void)MPI_Get_count(&status, MPI_BYTE, &received);
  if (error_class == MPI_SUCCESS && received == owner.receive_bytes) return ok_status();
  const Round& round = operation.pipelines[static_cast<size_t>(owner.pipeline)].round;
  return error(
      Code::kInternal,
      "{}: in {} rank {} expected {} bytes from rank {}, which sent {}: the ranks disagree",
      operation.group.name, to_string(operation.summary), operation.group.rank, owner.receive_bytes,
      round.receive_from,
      error_class == MPI_ERR_TRUNCATE ? std::string("more") : fmt::format("{}", received));
}

void MpiEngine::message_done(const RequestOwner& owner, MPI_Status& message_status) {
  MpiOperation& operation = *owner.operation;
  if (operation.done >= owner.ticket) return;  // its group was aborted a moment ago
  Status status = check_message(owner, message_status);
  if (status.ok()) {
    MpiOperation::Pipeline& pipeline = operation.pipelines[static_cast<size_t>(owner.pipeline)];
    if (--pipeline.num_pending > 0) return;
    apply(operation.plan, pipeline.round);
    status = run_pipeline(operation, owner.pipeline);
  }
  if (!status.ok()) {
    abort_progressing(operation.group, status, true);
  } else if (operation.num_running == 0) {
    finish(operation, ok_status());
  }
}

void MpiEngine::finish(MpiOperation& operation, const Status& status) {
  MpiGroup& group = operation.group;
  running_.erase(std::find(running_.begin(), running_.end(), &operation));
  if (group.collective == &operation) group.collective = nullptr;
  group.report.newest_done = true;
  group.newest_at = Steady::now();
  std::lock_guard lock(state_mutex_);
  if (!is_message(operation.summary)) {
    group.busy_s += std::chrono::duration<double>(group.newest_at - operation.started_at).count();
  }
  if (group.head != nullptr) arrived_ = true;
  finish_locked(operation, status);
}

void MpiEngine::finish_locked(MpiOperation& operation, const Status& status) {
  if (operation.may_start) --num_under_way_;
  operation.status = status;
  operation.done.store(operation.ticket);
  changed_.notify_all();
}

void MpiEngine::thread_main() {
  (void)::prctl(PR_SET_TIMERSLACK, 1000);  // ns: the kernel's 50 us would double the short sleeps
  auto busy_at = Steady::now();
  Steady::duration interval = kShortestInterval;
  std::unique_lock lock(state_mutex_);
  while (!stop_) {
    lock.unlock();
    const bool moved = num_waiting_ == 0 && try_progress();
    const auto now = Steady::now();
    if (num_under_way_ > 0) busy_at = now;
    lock.lock();
    if (stop_) break;
    if (now - busy_at > kAttentive) {
      thread_asleep_ = true;
      if (num_under_way_ == 0) wake_.wait_for(lock, kIdleInterval);
      thread_asleep_ = false;
      interval = kShortestInterval;
    } else if (num_waiting_ > 0) {
      wake_.wait_for(lock, kBystanderInterval);
      interval = kShortestInterval;
    } else {
      interval =
          moved ? kShortestInterval : std::min<Steady::duration>(2 * interval, kLongestInterval);
      wake_.wait_for(lock, interval);
    }
  }
}

}  // namespace leasehold
