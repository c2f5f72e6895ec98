#include "launch/supervisor/node_agent.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "launch/supervisor/control_client.h"
#include "launch/supervisor/quiet_thread.h"

namespace leasehold {

namespace {

constexpr int kOk = 200;
constexpr int kConflict = 409;
constexpr double kLeastGapS = 0.05;  // between two reports, however often one is wanted soon

class ReportingAgent : public NodeAgent {
 public:
  ReportingAgent(SocketAddress supervisor, NodeAgentOptions options, NodeAgentEvents events)
      : options_(std::move(options)),
        events_(std::move(events)),
        supervisor_(std::move(supervisor)),
        client_(options_.key, 2 * kMaxReportBytes) {}

  ~ReportingAgent() override {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
  }

  Status start() {
    LEASEHOLD_ASSIGN_OR_RETURN(thread_, start_quiet_thread([this] { run(); }));
    return ok_status();
  }

  void report_soon() override {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      is_wanted_ = true;
    }
    changed_.notify_all();
  }

 private:
  void run() {
    while (!stopping_ && !is_fenced_) {
      // A report under way is given up for the last one, which has its own time.
      send([this] { return stopping_.load(); });
      wait();
    }
    if (!is_fenced_) send({});
  }

  void wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    if (is_fenced_) return;
    const auto wait_s = [&](double seconds, const auto& condition) {
      changed_.wait_for(lock, std::chrono::duration<double>(seconds), condition);
    };
    const double gap_s = std::min(kLeastGapS, options_.interval_s);
    wait_s(gap_s, [&] { return stopping_.load(); });
    wait_s(options_.interval_s - gap_s, [&] { return stopping_ || is_wanted_; });
    is_wanted_ = false;
  }

  void send(std::function<bool()> give_up) {
    const SocketWait wait = {Deadline::after_s(options_.request_timeout_s), std::move(give_up)};
    Report report = events_.report();
    report.number = ++number_;
    const ControlRequest request = {"POST", "/report", to_json(report)};
    const Result<ControlReply> reply = client_.ask(supervisor_, request, wait);
    if (!reply.ok()) return look_elsewhere();
    if (reply->status == kConflict) return heed_fence(report, reply->body);
    if (reply->status != kOk) return;
    const Result<Answer> answer = parse_answer(reply->body);
    if (!answer.ok() || !answer->drain || is_draining_) return;
    is_draining_ = true;
    events_.drain(answer->reason);
  }

  void heed_fence(const Report& report, const std::string& body) {
    const std::optional<int64_t> present = parse_fence(body);
    if (!present || *present <= report.generation) return;
    is_fenced_ = true;
    events_.fenced(parse_error(body, ""));
  }

  void look_elsewhere() {
    if (!options_.find) return;
    Result<SocketAddress> found = parse_socket_address(options_.find());
    if (found.ok()) supervisor_ = std::move(*found);
  }

  const NodeAgentOptions options_;
  const NodeAgentEvents events_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::atomic<bool> stopping_ = false;
  bool is_wanted_ = false;  // guarded by mutex_
  // Of the thread alone.
  SocketAddress supervisor_;
  ControlClient client_;
  int64_t number_ = 0;  // of the newest report
  bool is_draining_ = false;
  bool is_fenced_ = false;
  std::thread thread_;  // last: it uses the others
};

}  // namespace

Result<std::unique_ptr<NodeAgent>> NodeAgent::start(NodeAgentOptions options,
                                                    NodeAgentEvents events) {
  Result<SocketAddress> supervisor = parse_socket_address(options.supervisor);
  if (!supervisor.ok()) return supervisor.status().annotated("LEASEHOLD_SUPERVISOR");
  auto agent = std::make_unique<ReportingAgent>(std::move(*supervisor), std::move(options),
                                                std::move(events));
  LEASEHOLD_RETURN_IF_ERROR(agent->start());
  return std::unique_ptr<NodeAgent>(std::move(agent));
}

}  // namespace leasehold
