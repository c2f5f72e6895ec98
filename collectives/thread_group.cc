#include "collectives/thread_group.h"

#include <algorithm>
#include <chrono>
#include <map>

#include "collectives/thread_world.h"

namespace leasehold {

namespace {

Deadline::TimePoint plus_s(Deadline::TimePoint at, double seconds) {
  return at + std::chrono::duration_cast<Deadline::TimePoint::duration>(
                  std::chrono::duration<double>(seconds));
}

bool point_to_point(OperationKind kind) {
  return kind == OperationKind::kSend || kind == OperationKind::kReceive;
}

}  // namespace

void Rendezvous::clear() {
  for (auto& part : parts) part.reset();
  num_joined = 0;
}

// Sets no limit on the stream: it would only repeat the group's timeout, which ends every
// operation.
void ThreadOperation::then(Stream& stream) {
  constexpr double kNoLimitS = 1e8;
  CpuStream::from(stream).wait_for(*this, ticket, kNoLimitS);
}
bool ThreadOperation::ready() const { return group->ready(*this); }
Status ThreadOperation::wait(Deadline deadline) { return group->wait(*this, ticket, deadline); }
Status ThreadOperation::wait_for(uint64_t awaited, Deadline deadline) const {
  return group->wait(*this, awaited, deadline);
}

ThreadGroup::ThreadGroup(ThreadWorldState& world, std::string name, std::vector<int> world_ranks)
    : world_(world),
      name_(std::move(name)),
      world_ranks_(std::move(world_ranks)),
      busy_s_(world_ranks_.size()),
      newest_(world_ranks_.size()),
      sources_(world_ranks_.size()) {
  // Prepares as many operations as are under way at once if every rank talks to two others, so that
  // nothing allocates later.
  const size_t num_prepared = 4 * world_ranks_.size() + 8;
  for (auto* list : {&active_, &moving_, &free_}) list->reserve(num_prepared);
  for (size_t i = 0; i < num_prepared; ++i) {
    free_.push_back(std::make_unique<Rendezvous>());
    free_.back()->parts.reserve(std::max<size_t>(world_ranks_.size(), 2));
  }
}

bool ThreadGroup::contains(int world_rank) const {
  return std::find(world_ranks_.begin(), world_ranks_.end(), world_rank) != world_ranks_.end();
}

void ThreadGroup::join(ThreadOperation& operation, const Status& stream_status) {
  world_.dawdle();
  Rendezvous* full = nullptr;
  {
    std::lock_guard lock(mutex_);
    operation.joined = true;
    operation.joined_at = std::chrono::steady_clock::now();
    if (failure_.ok() && !stream_status.ok()) {
      abort_locked(
          stream_status.annotated(fmt::format("{}: the stream of rank {} failed before {}", name_,
                                              operation.rank, to_string(operation.summary))));
    }
    if (!failure_.ok()) return finish(operation, failure_);
    newest_[static_cast<size_t>(operation.rank)] = {true, operation.sequence, operation.summary};

    Rendezvous& rendezvous = find_or_add(operation);
    const Status agreement = check_agreement(rendezvous, operation);
    const bool second = operation.summary.kind == OperationKind::kReceive;
    const size_t place = rendezvous.from < 0 ? static_cast<size_t>(operation.rank) : second;
    rendezvous.parts[place] = operation.shared_from_this();
    ++rendezvous.num_joined;
    if (!agreement.ok()) return abort_locked(agreement);
    if (rendezvous.num_joined < rendezvous.parts.size()) {
      changed_.notify_all();  // tells a waiter that its timeout starts now
      return;
    }
    const auto place_active = std::find_if(active_.begin(), active_.end(), [&](const auto& entry) {
      return entry.get() == &rendezvous;
    });
    for (const auto& part : rendezvous.parts) part->matched = true;
    moving_.push_back(std::move(*place_active));
    active_.erase(place_active);
    if (rendezvous.from >= 0 || rendezvous.sequence == num_performed_) full = &rendezvous;
  }
  if (full != nullptr) world_.perform_soon(*this, *full);
}

Rendezvous& ThreadGroup::find_or_add(const ThreadOperation& operation) {
  const OperationSummary& summary = operation.summary;
  int from = -1, to = -1;
  if (summary.kind == OperationKind::kSend) from = operation.rank, to = summary.peer;
  if (summary.kind == OperationKind::kReceive) from = summary.peer, to = operation.rank;
  for (const auto& rendezvous : active_) {
    if (rendezvous->from == from && rendezvous->to == to &&
        rendezvous->sequence == operation.sequence) {
      return *rendezvous;
    }
  }
  if (free_.empty()) free_.push_back(std::make_unique<Rendezvous>());
  active_.push_back(std::move(free_.back()));
  free_.pop_back();
  Rendezvous& rendezvous = *active_.back();
  rendezvous.from = from;
  rendezvous.to = to;
  rendezvous.sequence = operation.sequence;
  rendezvous.parts.resize(from < 0 ? world_ranks_.size() : 2);
  return rendezvous;
}

Status ThreadGroup::check_agreement(const Rendezvous& rendezvous,
                                    const ThreadOperation& operation) const {
  for (const auto& other : rendezvous.parts) {
    if (!other) continue;
    OperationSummary expected = operation.summary;
    if (point_to_point(expected.kind)) {
      expected.kind = other->summary.kind;
      expected.peer = other->summary.peer;
    }
    if (expected == other->summary) continue;
    return error(Code::kInternal, "{}: operation {} is {} on rank {} but {} on rank {}", name_,
                 operation.sequence, to_string(other->summary), other->rank,
                 to_string(operation.summary), operation.rank);
  }
  return ok_status();
}

void ThreadGroup::perform(Rendezvous& rendezvous) {
  Status status = move_data(rendezvous);
  if (rendezvous.parts[0]->summary.kind == OperationKind::kSplit) make_split_groups(rendezvous);
  Rendezvous* next = nullptr;
  {
    std::lock_guard lock(mutex_);
    if (!status.ok()) {
      status = status.annotated(name_);
      abort_locked(status);
    }
    for (const auto& part : rendezvous.parts) finish(*part, status);
    if (rendezvous.from < 0) note_performed(rendezvous);
    const auto place = std::find_if(moving_.begin(), moving_.end(),
                                    [&](const auto& entry) { return entry.get() == &rendezvous; });
    const bool collective = rendezvous.from < 0;
    rendezvous.clear();
    free_.push_back(std::move(*place));
    moving_.erase(place);
    const auto following = std::find_if(moving_.begin(), moving_.end(), [&](const auto& entry) {
      return collective && entry->from < 0 && entry->sequence == num_performed_;
    });
    if (following != moving_.end()) next = following->get();
  }
  if (next != nullptr) world_.perform_soon(*this, *next);
}

// Adds up busy time: a collective is under way from when its rank reached it and the one before was
// done.
void ThreadGroup::note_performed(const Rendezvous& rendezvous) {
  const auto now = std::chrono::steady_clock::now();
  for (const auto& part : rendezvous.parts) {
    const auto since = std::max(part->joined_at, performed_at_);
    busy_s_[static_cast<size_t>(part->rank)] += std::chrono::duration<double>(now - since).count();
  }
  performed_at_ = now;
  ++num_performed_;
}

void ThreadGroup::make_split_groups(Rendezvous& rendezvous) {
  std::map<int, std::vector<ThreadOperation*>> colors;
  for (const auto& part : rendezvous.parts) {
    if (part->color >= 0) colors[part->color].push_back(part.get());
  }
  for (auto& [color, members] : colors) {
    std::stable_sort(
        members.begin(), members.end(),
        [](const ThreadOperation* a, const ThreadOperation* b) { return a->key < b->key; });
    std::vector<int> world_ranks;
    for (const ThreadOperation* member : members) world_ranks.push_back(world_rank(member->rank));
    const auto group = std::make_shared<ThreadGroup>(world_, members[0]->split_name, world_ranks);
    world_.register_group(group);
    for (size_t i = 0; i < members.size(); ++i) {
      members[i]->split_group = group;
      members[i]->split_rank = static_cast<int>(i);
    }
  }
}

void ThreadGroup::finish(ThreadOperation& operation, const Status& status) {
  operation.status = status;
  operation.done = operation.ticket;
  changed_.notify_all();
}

bool ThreadGroup::ready(const ThreadOperation& operation) {
  std::lock_guard lock(mutex_);
  return operation.done == operation.ticket;
}

Status ThreadGroup::wait(const ThreadOperation& operation, uint64_t ticket, Deadline deadline) {
  std::unique_lock lock(mutex_);
  while (operation.done < ticket) {
    if (!failure_.ok() && !operation.matched) return failure_;
    Deadline::TimePoint until = deadline.time_point();
    const bool timed = operation.joined && !operation.matched;
    if (timed) until = std::min(until, plus_s(operation.joined_at, world_.options().timeout_s));
    if (changed_.wait_until(lock, until) != std::cv_status::timeout || operation.done >= ticket)
      continue;
    if (timed && !operation.matched && failure_.ok() &&
        std::chrono::steady_clock::now() >=
            plus_s(operation.joined_at, world_.options().timeout_s)) {
      abort_locked(describe_lag(operation));
    } else if (deadline.passed()) {
      return error(Code::kUnavailable, "{}: {} is not done by the caller's deadline", name_,
                   to_string(operation.summary));
    }
  }
  // A reused object means that the awaited operation was ok, or that the group has failed.
  return operation.done == ticket ? operation.status : failure_;
}

void ThreadGroup::abort(const Status& reason) {
  std::lock_guard lock(mutex_);
  abort_locked(reason);
}

// Gives up operations. An operation whose data is being moved completes by itself, soon; an
// operation that waits for its turn is given up.
void ThreadGroup::abort_locked(const Status& reason) {
  if (failure_.ok()) failure_ = reason;
  const auto give_up = [&](std::unique_ptr<Rendezvous>& rendezvous) {
    for (const auto& part : rendezvous->parts) {
      if (part) finish(*part, failure_);
    }
    rendezvous->clear();
    free_.push_back(std::move(rendezvous));
  };
  for (auto& rendezvous : active_) give_up(rendezvous);
  active_.clear();
  for (auto& rendezvous : moving_) {
    if (rendezvous->from < 0 && rendezvous->sequence > num_performed_) give_up(rendezvous);
  }
  std::erase(moving_, nullptr);
  changed_.notify_all();
}

Status ThreadGroup::health() {
  std::lock_guard lock(mutex_);
  return failure_;
}

double ThreadGroup::busy_s(int rank) {
  std::lock_guard lock(mutex_);
  return size() == 1 ? 0 : busy_s_[static_cast<size_t>(rank)];
}

void ThreadGroup::set_report_source(int rank, ReportSource* source) {
  std::lock_guard lock(sources_mutex_);
  sources_[static_cast<size_t>(rank)] = source;
}

// Asks the members. A rank that froze or died does not answer; a rank that has ended left the
// group.
std::vector<ReportAnswer> ThreadGroup::ask_members() {
  std::lock_guard lock(sources_mutex_);
  std::vector<ReportAnswer> answers(sources_.size());
  for (size_t rank = 0; rank < sources_.size(); ++rank) {
    const bool here = world_.fate(world_rank(static_cast<int>(rank))).empty();
    answers[rank].answered = here;
    if (here && sources_[rank] != nullptr) answers[rank].report = sources_[rank]->report();
  }
  return answers;
}

Status ThreadGroup::describe_lag(const ThreadOperation& operation) {
  std::string lagging;
  for (const auto& rendezvous : active_) {
    const auto& parts = rendezvous->parts;
    if (std::none_of(parts.begin(), parts.end(),
                     [&](const auto& part) { return part.get() == &operation; }))
      continue;
    for (size_t place = 0; place < parts.size(); ++place) {
      if (parts[place]) continue;
      const int rank = rendezvous->from < 0 ? static_cast<int>(place) : operation.summary.peer;
      if (!lagging.empty()) lagging += "; ";
      lagging += describe_rank(rank);
    }
  }
  return error(Code::kUnavailable, "{}: {} (operation {} of rank {}) did not complete in {} s: {}",
               name_, to_string(operation.summary), operation.sequence, operation.rank,
               world_.options().timeout_s, lagging);
}

std::string ThreadGroup::describe_rank(int rank) const {
  const std::string who = fmt::format("rank {}", rank);
  const std::string fate = world_.fate(world_rank(rank));
  if (!fate.empty()) return fmt::format("{} {}", who, fate);
  const Newest& newest = newest_[static_cast<size_t>(rank)];
  if (!newest.any) return fmt::format("{} lags, having reached no operation of this group", who);
  return fmt::format("{} lags, the newest operation that it reached is {} (operation {})", who,
                     to_string(newest.summary), newest.sequence);
}

}  // namespace leasehold
