// Where the control server's threads and the supervisor's loop meet: what agents reported, what
// they are to be told, an operator's wish, and the state as last shown. Thread-safe.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "launch/supervisor/control_server.h"
#include "launch/supervisor/observation.h"
#include "runtime/base/clock.h"

namespace leasehold {

class ReportBoard : public ControlHandler {
 public:
  explicit ReportBoard(Clock& clock) : clock_(clock) {}

  // --- The supervisor's side ---
  // A new generation: earlier reports are forgotten, and its agents are told to go on.
  void begin(int64_t generation, const std::vector<PlannedHost>& hosts);
  void tell_to_drain(const std::string& reason);
  // By node, the newest of each, with the moment on the steady clock; nodes that are not of the
  // generation are not heard.
  std::map<std::string, NodeNews> nodes() const;
  std::optional<std::string> stop_wish() const;
  void show(std::string state_json, std::string prometheus_metrics);

  // --- The server's side ---
  int64_t generation() override;
  Answer on_report(const Report& report) override;
  std::string state_json() override;
  std::string prometheus_metrics() override;
  void on_drain(const std::string& reason) override;

 private:
  Clock& clock_;
  mutable std::mutex mutex_;
  int64_t generation_ = 0;
  std::set<std::string> hosts_;
  std::map<std::string, NodeNews> nodes_;
  Answer answer_;
  std::optional<std::string> stop_wish_;
  std::string state_json_ = "{}";
  std::string prometheus_metrics_;
};

}  // namespace leasehold
