// Handles the failures of `mpi`: an operation that is late, a peer that is gone, and giving up
// without letting MPI keep pointers to memory.
#include <algorithm>
#include <chrono>

#include "collectives/mpi_calls.h"
#include "collectives/mpi_engine.h"

namespace leasehold {

namespace {

using Steady = std::chrono::steady_clock;

// Time that an unwanted message may take to be cancelled.
constexpr auto kWithdrawal = std::chrono::milliseconds(500);

Steady::duration seconds(double value) {
  return std::chrono::duration_cast<Steady::duration>(std::chrono::duration<double>(value));
}

}  // namespace

void MpiEngine::abort_progressing(MpiGroup& group, const Status& reason, bool tell) {
  {
    std::lock_guard lock(state_mutex_);
    if (!group.failure.ok()) return;
    group.failure = reason;
    for (MpiOperation* operation = group.head; operation != nullptr; operation = operation->next) {
      finish_locked(*operation, reason);
    }
    group.head = nullptr;
  }
  group.report.set_failure(reason.message());
  bool withdrawn = true;
  for (size_t i = running_.size(); i-- > 0;) {
    MpiOperation& operation = *running_[i];
    if (&operation.group != &group) continue;
    if (asked_about_ == &operation) asked_about_ = nullptr;
    if (!silent_) withdrawn = withdraw(operation) && withdrawn;
    finish(operation, reason);
  }
  // The other ranks may be lost themselves. Ranks that hear it need not wait for a deadline.
  if (tell && !silent_)
    (void)lag_.tell_gave_up(group.channel, group.world_ranks, world_rank_, reason.message());
  if (!withdrawn && !silent_) {
    fail_everything(reason);
    silent_ = true;
  }
}

void MpiEngine::fail_everything(const Status& reason) {
  for (const auto& group : groups_) {
    if (!group->report.known) continue;
    abort_progressing(*group, reason.annotated(fmt::format("{}: MPI is given up", group->name)),
                      true);
  }
}

bool MpiEngine::withdraw(MpiOperation& operation) {
  for (size_t i = 0; i < requests_.size(); ++i) {
    if (owners_[i].operation == &operation && owners_[i].receive_bytes >= 0)
      (void)MPI_Cancel(&requests_[i]);
  }
  const auto until = Steady::now() + kWithdrawal;
  bool left = true;
  while (left && Steady::now() < until) {
    left = false;
    for (size_t i = 0; i < requests_.size(); ++i) {
      if (owners_[i].operation != &operation || requests_[i] == MPI_REQUEST_NULL) continue;
      int done = 0;
      (void)MPI_Test(&requests_[i], &done, MPI_STATUS_IGNORE);
      if (done == 0) left = true;
    }
  }
  size_t kept = 0;
  for (size_t i = 0; i < requests_.size(); ++i) {
    if (owners_[i].operation == &operation) continue;
    requests_[kept] = requests_[i];
    owners_[kept++] = owners_[i];
  }
  requests_.resize(kept);
  owners_.resize(kept);
  return !left;
}

void MpiEngine::watch_deadlines(Deadline::TimePoint now) {
  if (asked_from_outside_) return;  // the answers, or the limit of the question, come soon
  if (asked_about_ != nullptr) {
    const bool still_runs =
        std::find(running_.begin(), running_.end(), asked_about_) != running_.end();
    if (still_runs && !lag_.all_answered() && now < asked_until_) return;
    MpiOperation* const late = std::exchange(asked_about_, nullptr);
    if (still_runs) abort_progressing(late->group, describe_lag(*late), true);
    return;
  }
  for (MpiOperation* const operation : running_) {
    if (now - operation->started_at < seconds(options_.timeout_s)) continue;
    const Status status =
        lag_.ask(operation->group.channel, operation->group.world_ranks, world_rank_);
    if (!status.ok()) return fail_everything(status);
    asked_about_ = operation;
    asked_until_ = now + seconds(options_.answer_limit_s);
    return;
  }
}

GroupReport MpiEngine::report(int channel) {
  for (const auto& group : groups_) {
    if (group->channel != channel || !group->report.known) continue;
    if (group->report_source != nullptr) return group->report_source->report();
    GroupReport report = group->report;
    report.age_s = std::chrono::duration<double>(Steady::now() - group->newest_at).count();
    return report;
  }
  return {};
}

void MpiEngine::peer_gave_up(int channel, int world_rank, const std::string& reason) {
  for (const auto& group : groups_) {
    if (group->channel != channel || !group->report.known) continue;
    const auto& members = group->world_ranks;
    const auto peer = std::find(members.begin(), members.end(), world_rank);
    if (peer == members.end()) continue;
    const std::string who = describe_rank(*group, static_cast<int>(peer - members.begin()));
    return abort_progressing(*group, error(Code::kUnavailable, "{} gave up: {}", who, reason),
                             false);
  }
}

std::string MpiEngine::describe_rank(const MpiGroup& group, int rank) const {
  const int world_rank = group.world_ranks[static_cast<size_t>(rank)];
  std::string text = fmt::format("rank {}", rank);
  const auto place = static_cast<size_t>(world_rank);
  const bool known = place < places_.size();
  if (world_rank != rank) {
    text += fmt::format(" (rank {} of the world{}{})", world_rank, known ? ", " : "",
                        known ? places_[place] : "");
  } else if (known) {
    text += fmt::format(" ({})", places_[place]);
  }
  return text;
}

Status MpiEngine::describe_lag(const MpiOperation& operation) {
  const MpiGroup& group = operation.group;
  return describe_late_operation(group.name, group.rank, {operation.summary, operation.sequence},
                                 options_.timeout_s, lag_.answers(),
                                 [&](int rank) { return describe_rank(group, rank); });
}

std::vector<ReportAnswer> MpiEngine::ask_members(const MpiGroup& group, double limit_s) {
  const Deadline deadline = Deadline::after_s(limit_s);
  constexpr auto kInterval = std::chrono::milliseconds(1);
  bool asked = false;
  while (true) {
    {
      std::lock_guard lock(progress_mutex_);
      const bool given_up = silent_ || deadline.passed();
      // One question at a time; the engine's own has priority.
      if (!asked && !given_up && asked_about_ == nullptr && !asked_from_outside_) {
        asked = lag_.ask(group.channel, group.world_ranks, world_rank_).ok();
        asked_from_outside_ = asked;
      }
      if (!silent_) (void)progress();
      if (asked ? given_up || lag_.all_answered() : given_up) {
        if (asked) asked_from_outside_ = false;
        if (asked) return lag_.answers();
        return std::vector<ReportAnswer>(group.world_ranks.size());
      }
    }
    std::this_thread::sleep_for(kInterval);
  }
}

void MpiEngine::set_report_source(MpiGroup& group, ReportSource* source) {
  std::lock_guard lock(progress_mutex_);
  group.report_source = source;
}

std::string MpiEngine::describe_member(const MpiGroup& group, int rank) {
  std::lock_guard lock(progress_mutex_);
  return describe_rank(group, rank);
}

}  // namespace leasehold
