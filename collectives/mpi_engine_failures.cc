// Inside `mpi`: an operation that is late, a peer that is gone, and giving up without leaving MPI's
// hands on memory.
#include <algorithm>
#include <chrono>

#include "collectives/mpi_calls.h"
#include "collectives/mpi_engine.h"

namespace leasehold {

namespace {

using Steady = std::chrono::steady_clock;

// How long a message that is no longer wanted may take to be cancelled.
constexpr auto kWithdrawal = std::chrono::milliseconds(100);

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
  std::strncpy(group.report.failure, reason.message().c_str(), sizeof(group.report.failure) - 1);
  bool withdrawn = true;
  for (size_t i = running_.size(); i-- > 0;) {
    MpiOperation& operation = *running_[i];
    if (&operation.group != &group) continue;
    if (asked_about_ == &operation) asked_about_ = nullptr;
    if (!silent_) withdrawn = withdraw(operation) && withdrawn;
    finish(operation, reason);
  }
  // The others may be lost themselves; whoever hears it need not wait for a deadline.
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

namespace {

// What a member does instead, or "" when nothing sets it apart.
std::string describe_answer(const MpiOperation& operation, const MpiLag::Answer& answer) {
  const GroupReport& report = answer.report;
  if (!answer.answered) return "does not answer: its process is frozen, or it or its node is lost";
  if (report.failure[0] != '\0') return fmt::format("gave up: {}", report.failure);
  if (!report.known) return "is not in this group: it has left it, or has not made it yet";
  const std::string newest =
      report.any ? fmt::format("the newest operation that it reached is {}, {} for {:.1f} s",
                               to_string(report.newest), report.newest_done ? "done" : "under way",
                               report.age_s)
                 : "it has reached no operation of this group";
  if (is_message(operation.summary)) return fmt::format("answers: {}", newest);
  if (report.collectives_reached <= operation.sequence) return fmt::format("lags: {}", newest);
  if (report.collectives_reached == operation.sequence + 1 &&
      report.newest_collective != operation.summary) {
    return fmt::format("issued {} instead", to_string(report.newest_collective));
  }
  return "";
}

}  // namespace

Status MpiEngine::describe_lag(const MpiOperation& operation) {
  constexpr int kNamed = 8;
  const MpiGroup& group = operation.group;
  std::string lagging;
  int num_lagging = 0;
  for (size_t member = 0; member < group.world_ranks.size(); ++member) {
    const int rank = static_cast<int>(member);
    if (rank == group.rank || (is_message(operation.summary) && rank != operation.summary.peer))
      continue;
    const std::string does = describe_answer(operation, lag_.answer(member));
    if (does.empty() || ++num_lagging > kNamed) continue;
    lagging +=
        fmt::format("{}{} {}", lagging.empty() ? "" : "; ", describe_rank(group, rank), does);
  }
  if (num_lagging > kNamed) lagging += fmt::format("; and {} more", num_lagging - kNamed);
  if (lagging.empty())
    lagging = "every rank is in it, so the network stalls, or the timeout is too short";
  return error(Code::kUnavailable, "{}: {} (operation {} of rank {}) did not complete in {} s: {}",
               group.name, to_string(operation.summary), operation.sequence, group.rank,
               options_.timeout_s, lagging);
}

}  // namespace leasehold
