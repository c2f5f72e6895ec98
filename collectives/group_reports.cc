#include "collectives/group_reports.h"

#include <cstring>
#include <type_traits>

namespace leasehold {

static_assert(std::is_trivially_copyable_v<GroupReport>);

void GroupReport::set_failure(const std::string& reason) {
  std::strncpy(failure, reason.c_str(), sizeof(failure) - 1);
}

namespace {

// Returns what a member is doing instead; "" if it does nothing unusual.
std::string describe_answer(const LateOperation& late, const ReportAnswer& answer) {
  const GroupReport& report = answer.report;
  if (!answer.answered) return "does not answer: its process is frozen, or it or its node is lost";
  if (report.failure[0] != '\0') return fmt::format("gave up: {}", report.failure);
  if (!report.known) return "is not in this group: it has left it, or has not made it yet";
  const std::string newest =
      report.any ? fmt::format("the newest operation that it reached is {}, {} for {:.1f} s",
                               to_string(report.newest), report.newest_done ? "done" : "under way",
                               report.age_s)
                 : "it has reached no operation of this group";
  if (is_message(late.summary)) return fmt::format("answers: {}", newest);
  if (report.collectives_reached <= late.sequence) return fmt::format("lags: {}", newest);
  if (report.collectives_reached == late.sequence + 1 && report.newest_collective != late.summary) {
    return fmt::format("issued {} instead", to_string(report.newest_collective));
  }
  return "";
}

}  // namespace

Status describe_late_operation(const std::string& group, int rank, const LateOperation& late,
                               double timeout_s, const std::vector<ReportAnswer>& answers,
                               const std::function<std::string(int)>& describe_rank) {
  constexpr int kNamed = 8;
  std::string lagging;
  int num_lagging = 0;
  for (size_t member = 0; member < answers.size(); ++member) {
    const int peer = static_cast<int>(member);
    if (peer == rank || (is_message(late.summary) && peer != late.summary.peer)) continue;
    const std::string does = describe_answer(late, answers[member]);
    if (does.empty() || ++num_lagging > kNamed) continue;
    lagging += fmt::format("{}{} {}", lagging.empty() ? "" : "; ", describe_rank(peer), does);
  }
  if (num_lagging > kNamed) lagging += fmt::format("; and {} more", num_lagging - kNamed);
  if (lagging.empty())
    lagging = "every rank is in it, so the network stalls, or the timeout is too short";
  return error(Code::kUnavailable, "{}: {} (operation {} of rank {}) did not complete in {} s: {}",
               group, to_string(late.summary), late.sequence, rank, timeout_s, lagging);
}

}  // namespace leasehold
