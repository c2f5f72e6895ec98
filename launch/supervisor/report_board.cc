#include "launch/supervisor/report_board.h"

namespace leasehold {

void ReportBoard::begin(int64_t generation, const std::vector<PlannedHost>& hosts) {
  const std::lock_guard lock(mutex_);
  generation_ = generation;
  hosts_.clear();
  for (const PlannedHost& host : hosts) hosts_.insert(host.host);
  nodes_.clear();
  answer_ = {};
}

void ReportBoard::tell_to_drain(const std::string& reason) {
  const std::lock_guard lock(mutex_);
  answer_ = {.drain = true, .reason = reason};
}

std::map<std::string, NodeNews> ReportBoard::nodes() const {
  const std::lock_guard lock(mutex_);
  return nodes_;
}

std::optional<std::string> ReportBoard::stop_wish() const {
  const std::lock_guard lock(mutex_);
  return stop_wish_;
}

void ReportBoard::show(std::string state_json, std::string prometheus_metrics) {
  const std::lock_guard lock(mutex_);
  state_json_ = std::move(state_json);
  prometheus_metrics_ = std::move(prometheus_metrics);
}

int64_t ReportBoard::generation() {
  const std::lock_guard lock(mutex_);
  return generation_;
}

Answer ReportBoard::on_report(const Report& report) {
  const std::lock_guard lock(mutex_);
  if (report.generation != generation_ || !hosts_.contains(report.node)) return answer_;
  const auto known = nodes_.find(report.node);
  // One that is not newer was sent again by somebody else, or was overtaken.
  const bool is_newer = known == nodes_.end() || report.number > known->second.report.number;
  if (is_newer) nodes_[report.node] = {report, clock_.steady_s()};
  return answer_;
}

std::string ReportBoard::state_json() {
  const std::lock_guard lock(mutex_);
  return state_json_;
}

std::string ReportBoard::prometheus_metrics() {
  const std::lock_guard lock(mutex_);
  return prometheus_metrics_;
}

void ReportBoard::on_drain(const std::string& reason) {
  const std::lock_guard lock(mutex_);
  if (!stop_wish_) stop_wish_ = reason;
}

}  // namespace leasehold
