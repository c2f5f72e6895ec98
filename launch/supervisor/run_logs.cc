#include "launch/supervisor/run_logs.h"

#include <algorithm>
#include <cstdlib>

#include "launch/supervisor/control_protocol.h"
#include "runtime/checkpoint/json_lines.h"

namespace leasehold {

namespace {

constexpr int64_t kMetricsTailBytes = 8 << 10;  // holds several lines of metrics

Result<std::string> read_tail(FileSystem& files, const std::string& path, int64_t max_bytes) {
  LEASEHOLD_ASSIGN_OR_RETURN(const auto file, files.open(path));
  const int64_t size = file->size_bytes();
  std::string tail(static_cast<size_t>(std::min(size, max_bytes)), '\0');
  LEASEHOLD_RETURN_IF_ERROR(file->read_at(size - std::ssize(tail), tail.data(), std::ssize(tail)));
  return tail;
}

std::string events_path(const std::string& run_dir) { return join_path(run_dir, "events.jsonl"); }

}  // namespace

Status append_supervisor_event(FileSystem& files, const std::string& run_dir, Clock& clock,
                               int64_t generation, const SupervisorEvent& event) {
  return files.append_line(
      events_path(run_dir),
      event_line(format_utc(clock.unix_s()), generation, event.name, event.reason, event.details) +
          "\n");
}

Status repair_events(FileSystem& files, const std::string& run_dir) {
  const auto tail = read_tail(files, events_path(run_dir), 1);
  if (tail.status().code() == Code::kMissingInput) return ok_status();
  if (!tail.ok()) return tail.status();
  if (tail->empty() || tail->back() == '\n') return ok_status();
  return files.append_line(events_path(run_dir), "\n");
}

std::optional<LoggedStep> read_last_step(FileSystem& files, const std::string& run_dir) {
  const auto tail = read_tail(files, join_path(run_dir, "metrics.jsonl"), kMetricsTailBytes);
  if (!tail.ok()) return std::nullopt;
  const size_t end = tail->rfind('\n');
  if (end == std::string::npos || end == 0) return std::nullopt;
  const size_t before = tail->rfind('\n', end - 1);
  const size_t begin = before == std::string::npos ? 0 : before + 1;
  const std::string_view line = std::string_view(*tail).substr(begin, end - begin);
  const auto step = find_step(line);
  if (!step || *step > kMaxReportedCount || !is_json_object(line)) return std::nullopt;
  LoggedStep logged{.step = *step};
  if (const auto time = member_text(line, "step_time_s")) {
    const double seconds = std::strtod(time->c_str(), nullptr);
    if (seconds >= 0 && seconds <= kMaxReportedS) logged.step_time_s = seconds;
  }
  return logged;
}

}  // namespace leasehold
